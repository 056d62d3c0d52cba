import BlockStorage
import DirtyBitmap
import Foundation
import Ring
import TestSupport
import Testing

@testable import MirrorEngine

/// One job over simulated disks, run as a real one is: by `WorkerCrew`, on threads.
final class Simulation: @unchecked Sendable {
    /// How the job is made. The defaults keep a run small and its requests countable.
    struct Setup {
        var options = MirrorOptions()
        var requestSize = 64 << 10
        var depth = 4
        /// Nil for `depth` requests of full size.
        var bufferBytes: Int?
        var granularity: Int64 = 64 << 10
        /// What is dirty at the beginning; nil for all of the disk.
        var dirty: [Range<Int64>]?
        var isBuffered = false
        /// Nanoseconds between checkpoints; nil for none.
        var checkpointInterval: Int64?
        var behaviour = SimulatedKernel.Behaviour()
        /// A write is lost, and the kernel has told someone else of it.
        var losesUnheard = false
        /// The source is written meanwhile.
        var isLiving = false
        /// The job follows until all has been written.
        var follows = false
        var livePlan = LivePlan(ending: .whenItFits, maxPause: 0, passesMax: 16)
    }

    let source: SimulatedMap
    let target: any SimulatedTarget
    let kernel: SimulatedKernel
    let job: SharedJob
    let planned: Int64
    let claims: CheckpointClaims
    let living: LivingSource?
    /// The job may have called its target ready although it was not.
    private(set) var wasFalselyReady = false
    private let rings: Int
    private let end = DispatchSemaphore(value: 0)

    /// Longer than any job of these tests takes, also where the machine has much else to do.
    static let patience = 120.0

    init(
        from source: SimulatedMap, to target: any SimulatedTarget, _ setup: Setup = Setup()
    ) throws {
        self.source = source
        self.target = target
        let plan = JobPlan(
            source: source, target: target, options: setup.options,
            requestSize: setup.requestSize, depth: setup.depth,
            bufferBytes: setup.bufferBytes ?? setup.depth * setup.requestSize,
            granularity: setup.granularity, dropSourceCache: setup.isBuffered,
            dropTargetCache: setup.isBuffered)
        let granularity = try Granularity(bytes: setup.granularity)
        var working = DirtyBitmap(size: source.size, granularity: granularity)
        if let dirty = setup.dirty {
            for range in dirty { working.set(range) }
        } else {
            working.setAll()
        }
        planned = working.dirtyBytes
        living =
            setup.isLiving
            ? try LivingSource(source, granularity: granularity, seed: setup.behaviour.seed) : nil
        claims = CheckpointClaims(planned: working.copy(), living)
        rings = setup.options.rings
        kernel = SimulatedKernel(
            files: source.files + target.files, requestSize: setup.requestSize,
            zeroArea: plan.zeroArea, behaviour: setup.behaviour)
        let claims = claims
        let checkpoints = Checkpoints(every: setup.checkpointInterval) { remaining in
            claims.check(remaining, source, target)
        }
        job = SharedJob(
            plan: plan, working: working, speedLimit: setup.options.speedLimit, workers: rings,
            checkpoints: checkpoints,
            live: living.map { living in
                var plan = setup.livePlan
                if setup.follows { plan.ending = .when { living.isOver } }
                return LiveSource(living, plan)
            },
            requireNothingLost: { () throws(MirrorError) in
                guard setup.losesUnheard else { return }
                throw .flush(name: "target", cause: .errno(EIO))
            },
            // Over simulated rings a seed decides all there is to decide.
            makeThread: { [queue = setup.behaviour.queue] body in
                queue == .threads ? WorkerThread(body) : nil
            })
        kernel.letLive(living)
        let (source, target) = (source, target)
        living?.whenAtRest = { [weak self, isWhole = setup.dirty == nil] in
            if isWhole, source.bytes() != target.bytes(durable: true) {
                self?.wasFalselyReady = true
            }
        }
    }

    /// Starts the job on threads of its own.
    func start() {
        Thread.detachNewThread { [self] in
            switch kernel.behaviour.queue {
            case .ring: runOverRings()
            case .threads: runOverThreads()
            }
            end.signal()
        }
    }

    private func runOverRings() {
        WorkerCrew.run(job, workers: rings) { [kernel] () throws(RingError) in
            SimulatedDecompression(kernel)
        } makeQueue: { [kernel] (plan, decompression) throws(RingError) in
            try kernel.makeQueue(
                depth: plan.depth, byteCount: plan.slabBytes, decompression: decompression)
        }
    }

    private func runOverThreads() {
        let pool = DecompressionPool { RunLengthCode() }
        WorkerCrew.run(job, workers: rings) { () throws(RingError) in
            try pool.makeDecompressionDriver()
        } makeQueue: { [kernel] (plan, decompression) throws(RingError) in
            try kernel.makeThreads(
                depth: plan.depth, byteCount: plan.slabBytes, decompression: decompression)
        }
        pool.close()
    }

    /// How the job ended. A job that hangs is reported, cancelled and left behind.
    func finish(sourceLocation: SourceLocation = #_sourceLocation) throws -> MirrorOutcome {
        guard end.wait(timeout: .now() + Self.patience) == .success else {
            job.control.cancel()
            throw Hang()
        }
        for violation in kernel.violations + target.violations {
            Issue.record("\(violation)", sourceLocation: sourceLocation)
        }
        return job.outcome()
    }

    func run(sourceLocation: SourceLocation = #_sourceLocation) throws -> MirrorOutcome {
        start()
        return try finish(sourceLocation: sourceLocation)
    }

    /// Waits until an error policy or somebody else has paused the job.
    func waitForPause() throws {
        let deadline = Date() + Self.patience
        while !job.control.isPaused || job.control.pausedBy == nil {
            guard Date() < deadline else { throw Hang() }
            usleep(500)
        }
    }

    /// Waits for the end, and does what an operator would at each pause.
    func finish(
        atPause act: () -> Void, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> MirrorOutcome {
        let deadline = Date() + Self.patience
        while end.wait(timeout: .now() + 0.0005) != .success {
            guard Date() < deadline else {
                job.control.cancel()
                throw Hang()
            }
            if job.control.isPaused {
                act()
                job.control.resume()
            }
        }
        end.signal()
        return try finish(sourceLocation: sourceLocation)
    }

    struct Hang: Error {}

    /// How many checkpoints a copy that makes them as often as it can has at least: one over
    /// threads, where the first may take as long as the copy.
    var checkpointsMin: Int { kernel.behaviour.queue == .threads ? 1 : 2 }

    // MARK: what is true now

    var isEqual: Bool { source.bytes() == target.bytes() }
    var isEqualOnDisk: Bool { source.bytes() == target.bytes(durable: true) }

    /// The first byte where the target differs in a granule that the job does not call dirty.
    func firstUnclaimedDifference(durable: Bool) -> Int64? {
        let remaining = job.dispenser.remaining()
        let left = source.bytes()
        let right = target.bytes(durable: durable)
        return left.firstDifference(from: right) { start, end in
            !remaining.isFullyDirty(in: Int64(start)..<Int64(end))
        }
    }
}

extension MirrorOutcome {
    var isMirrored: Bool { if case .mirrored = self { true } else { false } }
    var isCancelled: Bool { if case .cancelled = self { true } else { false } }
    var error: MirrorError? { if case .failed(let error) = self { error } else { nil } }
}

extension [UInt8] {
    /// Bytes that tell by themselves where they belong and which disk they are from.
    static func pattern(_ count: Int, seed: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var random = SeededGenerator(seed: seed)
        bytes.withUnsafeMutableBytes { memory in
            for sector in 0..<((count + 511) / 512) {
                let start = sector * 512
                let end = Swift.min(start + 512, count)
                let stamp = random.next() | 1
                memset(memory.baseAddress! + start, CInt(stamp >> 56 | 1), end - start)
                if end - start >= 16 {
                    memory.storeBytes(of: stamp, toByteOffset: start, as: UInt64.self)
                    memory.storeBytes(of: stamp, toByteOffset: end & ~7 - 8, as: UInt64.self)
                }
            }
        }
        return bytes
    }

    /// A copy with these ranges zero.
    func zeroing(_ ranges: [Range<Int>]) -> [UInt8] {
        var bytes = self
        for range in ranges where !range.isEmpty {
            bytes.withUnsafeMutableBytes {
                _ = memset($0.baseAddress! + range.lowerBound, 0, range.count)
            }
        }
        return bytes
    }

    /// The first byte of the first sector that differs and that `matters`.
    func firstDifference(
        from other: [UInt8], where matters: (_ start: Int, _ end: Int) -> Bool
    ) -> Int64? {
        precondition(count == other.count)
        return withUnsafeBytes { left in
            other.withUnsafeBytes { right in
                var start = 0
                while start < left.count {
                    let end = Swift.min(start + 512, left.count)
                    if memcmp(left.baseAddress! + start, right.baseAddress! + start, end - start)
                        != 0,
                        matters(start, end)
                    {
                        return Int64(start)
                    }
                    start = end
                }
                return nil
            }
        }
    }
}
