import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import MirrorEngine

@Suite struct RunDispenserTests {
    /// A random disk with holes, a bitmap and limits.
    private struct Case {
        let size: Int64
        let source: SimulatedMap
        let isHole: [Bool]
        let granularity: Granularity
        let blockSize: Int64
        let unit: Int64
        let dataLimit: Int64
        let zeroLimit: Int64
        let dirty: [Range<Int64>]
        var random: SeededGenerator

        init(seed: UInt64) throws {
            var random = SeededGenerator(seed: seed)
            let size = Int.random(in: 0...600_000, using: &random)
            let holes = (0..<Int.random(in: 0...5, using: &random)).compactMap { _ -> Range<Int>? in
                let start = Int.random(in: 0...(size / 512), using: &random) * 512
                let end = min(size, start + Int.random(in: 1...300, using: &random) * 512)
                return start < end ? start..<end : nil
            }
            var isHole = Array(repeating: false, count: (size + 511) / 512)
            for hole in holes {
                for sector in (hole.lowerBound / 512)..<((hole.upperBound + 511) / 512) {
                    isHole[sector] = true
                }
            }
            self.size = Int64(size)
            self.isHole = isHole
            var map = SimulatedMap(
                raw: SimulatedDisk([UInt8](repeating: 1, count: size), holes: holes),
                isTarget: false)
            map.cutsExtents = true
            source = map
            blockSize = [4096, 16384].randomElement(using: &random)!
            granularity = try Granularity(
                bytes: blockSize << Int64.random(in: 0...5, using: &random))
            unit = blockSize << Int64.random(in: 0...3, using: &random)
            dataLimit = unit << Int64.random(in: 0...4, using: &random)
            zeroLimit = dataLimit << Int64.random(in: 0...6, using: &random)
            dirty = (0..<Int.random(in: 0...5, using: &random)).compactMap { _ in
                guard size > 0 else { return nil }
                let start = Int64.random(in: 0..<Int64(size), using: &random)
                return
                    start..<min(Int64(size), start + Int64.random(in: 1...90_000, using: &random))
            }
            self.random = random
        }

        func bitmap() -> DirtyBitmap {
            var bitmap = DirtyBitmap(size: size, granularity: granularity)
            for range in dirty { bitmap.set(range) }
            return bitmap
        }

        func dispenser() -> RunDispenser {
            RunDispenser(
                working: bitmap(), source: source, blockSize: blockSize, unit: unit)
        }
    }

    private static let seeds = (0..<RandomTest.events(default: 300)).map {
        RandomTest.seed(default: 0xD15_0000) &+ UInt64($0)
    }

    private func drain(_ dispenser: RunDispenser, _ test: Case) throws -> [Run] {
        var runs: [Run] = []
        while let run = try dispenser.next(dataLimit: test.dataLimit, zeroLimit: test.zeroLimit) {
            runs.append(run)
        }
        return runs
    }

    /// The runs are the dirty bytes: all of them, in order, once; on blocks; within their limits;
    /// and zero only where the source has a hole.
    @Test(arguments: seeds)
    func `runs cover the dirty bytes`(seed: UInt64) throws {
        let test = try Case(seed: seed)
        let dispenser = test.dispenser()
        let planned = test.bitmap()
        var covered = DirtyBitmap(size: test.size, granularity: test.granularity)
        var bytes: Int64 = 0
        var cursor: Int64 = 0
        let replay: Comment = "\(test.random.replay)"
        for run in try drain(dispenser, test) {
            dispenser.complete(run.range)
            #expect(run.range.lowerBound >= cursor && !run.range.isEmpty, replay)
            cursor = run.range.upperBound
            bytes += Int64(run.range.count)
            let isPlanned = planned.isFullyDirty(in: run.range)
            #expect(isPlanned, replay)
            covered.set(run.range)
            #expect(run.range.lowerBound % test.blockSize == 0, replay)
            #expect(cursor % test.blockSize == 0 || cursor == test.size, replay)
            let goesOn = cursor < test.size && planned.isDirty(at: cursor)
            #expect(cursor % test.unit == 0 || !goesOn, replay)
            let limit = run.isZero ? test.zeroLimit : test.dataLimit
            #expect(run.range.count <= limit, replay)
            if run.isZero {
                let sectors = Int(run.range.lowerBound / 512)..<Int((cursor + 511) / 512)
                #expect(test.isHole[sectors].allSatisfy { $0 }, replay)
            }
        }
        let plannedBytes = planned.dirtyBytes
        #expect(bytes == plannedBytes, replay)
        let isAll = covered.isEqual(to: planned)
        #expect(isAll, replay)
        let isClean = dispenser.remaining().isClean
        #expect(isClean, replay)
    }

    /// Large holes must come as zeros, not as data: all but the blocks at their ends.
    @Test(arguments: seeds)
    func `holes are found`(seed: UInt64) throws {
        let test = try Case(seed: seed)
        for run in try drain(test.dispenser(), test) where !run.isZero {
            var offset = (run.range.lowerBound + test.unit - 1) / test.unit * test.unit
            // A unit within data must have data, or be the rest of a stretch that begins before it.
            while offset + test.unit <= run.range.upperBound {
                let sectors = Int(offset / 512)..<Int((offset + test.unit) / 512)
                let isHole = test.isHole[sectors].allSatisfy { $0 }
                #expect(!isHole, "\(test.random.replay)")
                offset += test.unit
            }
        }
    }

    /// At any moment, what was not handed out or did not come back is remaining; what is given back
    /// is not handed out again in the same pass, and stays; what is deferred is what the retry pass
    /// hands out.
    @Test(arguments: seeds)
    func `what comes back is kept`(seed: UInt64) throws {
        var test = try Case(seed: seed)
        let dispenser = test.dispenser()
        let replay: Comment = "\(test.random.replay)"
        var failed = DirtyBitmap(size: test.size, granularity: test.granularity)
        var cursor: Int64 = 0
        var hasDeferred = false
        while let run = try dispenser.next(dataLimit: test.dataLimit, zeroLimit: test.zeroLimit) {
            #expect(run.range.lowerBound >= cursor, replay)
            cursor = run.range.upperBound
            let isOut = dispenser.remaining().isFullyDirty(in: run.range)
            #expect(isOut, replay)
            switch Int.random(in: 0..<10, using: &test.random) {
            case 0..<2:
                dispenser.giveBack(run.range)
                failed.set(run.range)
            case 2..<4:
                dispenser.defer(run.range)
                dispenser.complete(run.range)
                failed.set(run.range)
                hasDeferred = true
            default: dispenser.complete(run.range)
            }
            let remaining = dispenser.remaining()
            let missing = test.bitmap()
            missing.forEachDirtyRun { range in
                guard range.lowerBound >= run.range.upperBound else { return }
                let isThere = remaining.isFullyDirty(in: range)
                #expect(isThere, replay)
            }
            failed.forEachDirtyRun { range in
                let isThere = remaining.isFullyDirty(in: range)
                #expect(isThere, replay)
            }
        }
        let left = dispenser.remaining()
        let isExact = left.isEqual(to: failed)
        #expect(isExact, replay)
        let isClean = dispenser.isClean
        #expect(isClean == failed.isClean, replay)
        #expect(dispenser.hasDeferred == hasDeferred, replay)
        #expect((dispenser.beginPass() > 0) == !failed.isClean, replay)
        guard !failed.isClean else { return }
        var again = DirtyBitmap(size: test.size, granularity: test.granularity)
        for run in try drain(dispenser, test) {
            again.set(run.range)
            dispenser.complete(run.range)
        }
        let isSame = again.isEqual(to: failed)
        #expect(isSame, replay)
        #expect(!dispenser.hasDeferred && dispenser.beginPass() == 0, replay)
        #expect(dispenser.isClean, replay)
    }

    /// Runs that were joined come back as one, and take none of their neighbours along.
    @Test func `joined runs come back together`() throws {
        let source = SimulatedMap(
            raw: SimulatedDisk([UInt8](repeating: 1, count: 1 << 20)), isTarget: false)
        var working = DirtyBitmap(size: 1 << 20)
        working.set(0..<(256 << 10))
        let dispenser = RunDispenser(working: working, source: source, blockSize: 4096)
        for _ in 0..<4 { _ = try dispenser.next(dataLimit: 65536, zeroLimit: 65536) }
        dispenser.complete((64 << 10)..<(192 << 10))
        let remaining = dispenser.remaining()
        let left = remaining.dirtyBytes
        #expect(left == 128 << 10)
        let isOut = remaining.isDirty(at: 0) && remaining.isDirty(at: 192 << 10)
        #expect(isOut)
        #expect(!dispenser.isClean)
    }

    /// A write during the job makes clean bytes dirty again behind the cursor, and none may be
    /// lost.
    @Test func `a run handed out may become dirty again`() throws {
        let source = SimulatedMap(
            raw: SimulatedDisk([UInt8](repeating: 1, count: 1 << 20)), isTarget: false)
        var working = DirtyBitmap(size: 1 << 20)
        working.set(0..<(256 << 10))
        let dispenser = RunDispenser(working: working, source: source, blockSize: 4096)
        let run = try dispenser.next(dataLimit: 65536, zeroLimit: 65536)
        #expect(run == Run(range: 0..<65536, isZero: false))
        dispenser.complete(0..<65536)
        dispenser.defer(0..<512)
        let remaining = dispenser.remaining()
        let bytes = remaining.dirtyBytes
        #expect(bytes == 256 << 10)
    }
}
