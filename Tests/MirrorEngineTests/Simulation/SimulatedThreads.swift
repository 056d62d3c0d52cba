import Foundation
import Glibc
import MirrorEngine
import TestSupport

@testable import Ring

/// A `ThreadQueue` whose system calls reach simulated disks: the threads, their order and the
/// wake-ups are real, and what the calls come to is the simulation's.
struct SimulatedThreads: ~Copyable, RequestQueue {
    /// What the threads share with the owner.
    private final class Calls: @unchecked Sendable {
        private let kernel: SimulatedKernel
        private let lock = NSLock()
        private var random: SeededGenerator
        /// The disk's names of the changes in flight, of which no two overlap.
        private var changes: [Place: UInt64] = [:]

        private struct Place: Hashable {
            let file: FileIndex
            let offset: Int64

            init(_ request: Request) {
                file = request.file
                offset = request.offset
            }
        }

        init(_ kernel: SimulatedKernel, seed: UInt64) {
            self.kernel = kernel
            random = SeededGenerator(seed: seed)
        }

        func begin(_ request: Request, _ id: UInt64) {
            lock.withLock { changes[Place(request)] = id }
        }

        func end(_ request: Request) { lock.withLock { changes[Place(request)] = nil } }

        func carryOut(_ request: Request, _ buffers: BufferSlab) -> Int32 {
            var (random, id) = lock.withLock {
                (SeededGenerator(seed: self.random.next()), changes[Place(request)] ?? 0)
            }
            if kernel.behaviour.isShuffling {
                for _ in 0..<Int.random(in: 0...3, using: &random) { sched_yield() }
            }
            let mark = kernel.file(of: request)?.disk.flushMark ?? 0
            return kernel.carryOut(request, id, flushMark: mark, buffers, &random)
        }
    }

    let depth: Int
    private let kernel: SimulatedKernel
    private let calls: Calls
    private var queue: ThreadQueue
    /// What is in flight.
    private var flights: [Token: (id: UInt64, request: Request)] = [:]

    init(
        kernel: SimulatedKernel, depth: Int, byteCount: Int,
        decompression: (any DecompressionDriver)?
    ) throws(RingError) {
        let number = try kernel.makeRing()
        let calls = Calls(kernel, seed: kernel.behaviour.seed &+ UInt64(number) &* 0x9E37)
        // Nothing is done with these descriptors but that of a decompression driver is polled.
        let files =
            kernel.files.map { _ in CInt(-1) } + (decompression.map { [$0.descriptor] } ?? [])
        let queue = try ThreadQueue(
            depth: depth, files: files, buffers: try BufferSlab(byteCount: byteCount),
            threadsMax: kernel.behaviour.threadsMax
        ) { request, _, buffers in calls.carryOut(request, buffers) }
        self.kernel = kernel
        self.depth = depth
        self.calls = calls
        self.queue = queue
    }

    deinit {
        kernel.expect(flights.isEmpty, "a queue was destroyed with requests in flight")
    }

    var buffers: BufferSlab { queue.buffers }
    var inFlight: Int { queue.inFlight }
    var statistics: QueueStatistics { queue.statistics }

    func supports(_ operation: Request.Operation) -> Bool { queue.supports(operation) }

    mutating func enqueue(_ request: Request, token: Token) {
        let id = kernel.identify()
        kernel.record(request)
        if request.operation != .pollIn { kernel.check(request, id) }
        if request.changes { calls.begin(request, id) }
        kernel.expect(flights[token] == nil, "two requests with one token")
        flights[token] = (id, request)
        queue.enqueue(request, token: token)
    }

    mutating func submitAndWait(minimum: Int, timeoutNanoseconds: Int64?) throws(RingError) {
        try kernel.step()
        try queue.submitAndWait(minimum: minimum, timeoutNanoseconds: timeoutNanoseconds)
    }

    mutating func nextCompletion() -> Completion? {
        guard let completion = queue.nextCompletion() else { return nil }
        guard let (id, request) = flights.removeValue(forKey: completion.token) else {
            kernel.report("a completion of nothing")
            return completion
        }
        if request.changes {
            calls.end(request)
            kernel.file(of: request)?.disk.endChange(id)
        }
        return completion
    }

    mutating func forsake() {
        queue.forsake()
        for (id, request) in flights.values { kernel.file(of: request)?.disk.forget(id) }
        flights.removeAll()
    }
}
