import BlockStorage
import DirtyBitmap
import Synchronization
import TestSupport
import Testing

@testable import MirrorEngine

/// A source that is written while its runs are copied: what differs is dirty, at every moment, and
/// once the writers rest the passes end with a mirror.
@Suite struct ArrivalTests {
    private static let block: Int64 = 4096

    /// The blocks of a disk as numbers of their last write, 0 for zeros, and who tells of writes.
    private final class LivingDisk: SourceMap, ChangeSource {
        struct State {
            var blocks: [UInt64]
            var writes: UInt64 = 0
            var isHeld = false
        }

        let state: Mutex<State>
        let marks: AtomicBitmap
        let size: Int64

        init(blocks: [UInt64]) throws {
            size = Int64(blocks.count) * block
            state = Mutex(State(blocks: blocks))
            marks = try AtomicBitmap(size: size, granularity: Granularity(bytes: block))
        }

        let name = "living"
        let endpoints: [Endpoint] = [.file(0)]
        let alignment = 512
        func sizeChange() throws(StorageError) -> SizeChange? { nil }

        /// What begins here, as the disk is now, and how far that goes.
        func content(at offset: Int64) throws(StorageError) -> StorageExtent {
            let blocks = state.withLock { $0.blocks }
            let first = Int(offset / block)
            var end = first
            while end < blocks.count, (blocks[end] == 0) == (blocks[first] == 0) { end += 1 }
            return StorageExtent(
                range: offset..<Int64(end) * block,
                content: blocks[first] == 0 ? .zero : .data)
        }

        func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
            .stored(HostExtent(file: 0, hostOffset: offset, length: limit - offset, alignment: 512))
        }

        /// Marks when a write is submitted, and when it has completed.
        func write(_ index: Int, zeros: Bool) {
            let range = Int64(index) * block..<Int64(index + 1) * block
            marks.set(range)
            state.withLock { state in
                precondition(!state.isHeld, "a write while the writers are held back")
                state.writes += 1
                state.blocks[index] = zeros ? 0 : state.writes
            }
            marks.set(range)
        }

        var isAtRest: Bool { marks.isClean }
        func drain(into bits: inout DirtyBitmap) { marks.drain(into: &bits) }
        func settle() {}
        func quiesce() { state.withLock { $0.isHeld = true } }
        func provenMoment() -> HoldState { state.withLock { $0.isHeld ? .proven : .released } }
        func resume() -> MirrorError? {
            state.withLock { $0.isHeld = false }
            return nil
        }
    }

    private struct Copy {
        let disk: LivingDisk
        let dispenser: RunDispenser
        var target: [UInt64]
        var out: [Run] = []
        var passes = 1

        /// A run's bytes are what the source has when it is read, and zeros where it is said so.
        mutating func copy(_ run: Run) {
            let blocks = disk.state.withLock { $0.blocks }
            for index in Int(run.range.lowerBound / block)..<Int(run.range.upperBound / block) {
                target[index] = run.isZero ? 0 : blocks[index]
            }
        }

        /// Each block that differs is dirty, or told of and not drained yet.
        func firstLost() -> Int? {
            let blocks = disk.state.withLock { $0.blocks }
            var known = dispenser.remaining()
            // What is drained here is put back at once.
            var told = DirtyBitmap(size: disk.size, granularity: known.granularity)
            disk.drain(into: &told)
            told.forEachDirtyRun { disk.marks.set($0) }
            known.merge(sameSize: told)
            return blocks.indices.first {
                blocks[$0] != target[$0] && !known.isDirty(at: Int64($0) * block)
            }
        }
    }

    private static let seeds = (0..<RandomTest.events(default: 10_000)).map {
        RandomTest.seed(default: 0xA44_1000) &+ UInt64($0)
    }

    @Test func `what differs is dirty, whatever is written meanwhile`() throws {
        for seed in Self.seeds {
            var random = SeededGenerator(seed: seed)
            let count = Int.random(in: 1...80, using: &random)
            let disk = try LivingDisk(
                blocks: (0..<count).map { _ in UInt64.random(in: 0...2, using: &random) << 32 })
            var working = DirtyBitmap(
                size: disk.size, granularity: try Granularity(bytes: Self.block))
            working.setAll()
            var copy = Copy(
                disk: disk,
                dispenser: RunDispenser(
                    working: working, source: disk, blockSize: Self.block, arrivals: disk),
                target: Array(repeating: .max, count: count))
            for _ in 0..<Int.random(in: 10...300, using: &random) {
                try step(&copy, &random, isLive: true)
                let lost = copy.firstLost()
                #expect(lost == nil, "\(random.replay)")
            }
            try finish(&copy, &random)
            #expect(copy.target == disk.state.withLock { $0.blocks }, "\(random.replay)")
            #expect(copy.dispenser.isClean, "\(random.replay)")
        }
    }

    /// The writers rest, and the passes go on until one has nothing to do.
    private func finish(_ copy: inout Copy, _ random: inout SeededGenerator) throws {
        copy.disk.quiesce()
        let last = copy.passes + 20
        while copy.passes < last {
            let before = copy.passes
            try step(&copy, &random, isLive: false)
            if copy.passes > before, copy.dispenser.isClean { return }
        }
        Issue.record("passes do not end; \(random.replay)")
    }

    private func step(
        _ copy: inout Copy, _ random: inout SeededGenerator, isLive: Bool
    ) throws {
        if isLive, random.chance(percent: 40) {
            let index = Int.random(in: 0..<copy.target.count, using: &random)
            return copy.disk.write(index, zeros: random.chance(percent: 30))
        }
        if random.chance(percent: 50), copy.out.count < 4 {
            let limit = Self.block * Int64.random(in: 1...8, using: &random)
            if let run = try copy.dispenser.next(dataLimit: limit, zeroLimit: limit * 2) {
                return copy.out.append(run)
            }
        }
        guard !copy.out.isEmpty else {
            if let run = try copy.dispenser.next(dataLimit: Self.block, zeroLimit: Self.block) {
                return copy.out.append(run)
            }
            _ = copy.dispenser.beginPass()
            copy.passes += 1
            return
        }
        let run = copy.out.remove(at: Int.random(in: 0..<copy.out.count, using: &random))
        switch isLive ? Int.random(in: 0..<10, using: &random) : 9 {
        case 0: copy.dispenser.giveBack(run.range)
        case 1:
            copy.copy(run)
            let part = run.range.lowerBound..<run.range.lowerBound + Self.block
            copy.target[Int(part.lowerBound / Self.block)] = .max
            copy.dispenser.defer(part)
            copy.dispenser.complete(run.range)
        default:
            copy.copy(run)
            copy.dispenser.complete(run.range)
        }
    }
}
