import DirtyBitmap
import TestSupport
import Testing

@Suite struct MergingTests {
    private let fourKibibytes = try! Granularity(bytes: 4096)

    @Test func `merging into a coarser bitmap rounds outward`() throws {
        var coarse = DirtyBitmap(size: 10000, granularity: fourKibibytes)
        var fine = DirtyBitmap(size: 10000, granularity: .min)
        fine.set(4095..<4097)
        fine.set(9999..<10000)
        try coarse.merge(fine)
        #expect(coarse.runs() == [0..<10000])
        #expect(fine.runs() == [3584..<4608, 9728..<10000])
    }

    @Test func `merging into a finer bitmap is exact`() throws {
        var coarse = DirtyBitmap(size: 10000, granularity: fourKibibytes)
        var fine = DirtyBitmap(size: 10000, granularity: .min)
        coarse.set(8192..<8193)
        try fine.merge(coarse)
        #expect(fine.runs() == [8192..<10000])
    }

    @Test func `subtracting from a coarser bitmap needs the whole granule`() throws {
        var coarse = DirtyBitmap(size: 10000, granularity: fourKibibytes)
        var fine = DirtyBitmap(size: 10000, granularity: .min)
        coarse.setAll()
        fine.set(512..<8192)
        fine.set(8192..<9728)
        try coarse.subtract(fine)
        #expect(coarse.runs() == [0..<4096, 8192..<10000])
        fine.set(0..<1)
        fine.set(9999..<10000)
        try coarse.subtract(fine)
        #expect(coarse.isClean == true)
    }

    @Test func `different sizes are refused and change nothing`() {
        var bitmap = DirtyBitmap(size: 4096, granularity: .min)
        bitmap.set(0..<1)
        var other = DirtyBitmap(size: 4097, granularity: .min)
        other.setAll()
        #expect(throws: DirtyBitmapError.sizesDiffer(size: 4096, other: 4097)) {
            try bitmap.merge(other)
        }
        #expect(throws: DirtyBitmapError.sizesDiffer(size: 4096, other: 4097)) {
            try bitmap.subtract(other)
        }
        #expect(bitmap.runs() == [0..<512])
    }

    @Test(arguments: Shape.granularities, Shape.granularities)
    func `a bitmap merges and subtracts as its twin does`(ours: Granularity, theirs: Granularity)
        throws
    {
        var random = RandomTest.generator(defaultSeed: 0x3E_46E)
        let coarser = max(ours, theirs)
        let finer = min(ours, theirs)
        // Both granularities see an edge within the disk, and the finer one stays countable.
        let size = min(coarser.bytes * 3, finer.bytes * 3000) + finer.bytes / 2 + 3
        for round in 0..<6 {
            var bitmap = DirtyBitmap(size: size, granularity: ours)
            var twin = NaiveBitmap(size: size, granularity: ours.bytes)
            var other = DirtyBitmap(size: size, granularity: theirs)
            var otherTwin = NaiveBitmap(size: size, granularity: theirs.bytes)
            for _ in 0..<6 {
                let range = random.range(in: Shape(size: size, granularity: finer))
                bitmap.set(range)
                twin.set(range)
                let otherRange = random.range(in: Shape(size: size, granularity: coarser))
                other.set(otherRange)
                otherTwin.set(otherRange)
            }
            if round % 2 == 0 {
                try bitmap.merge(other)
                twin.merge(otherTwin)
            } else {
                try bitmap.subtract(other)
                twin.subtract(otherTwin)
            }
            bitmap.checkInvariants()
            #expect(bitmap.runs() == twin.runs(in: 0..<size), "round \(round); \(random.replay)")
            #expect(other.runs() == otherTwin.runs(in: 0..<size), "\(random.replay)")
        }
    }

    @Test func `a copy is equal and independent`() {
        var bitmap = DirtyBitmap(size: 1 << 20, granularity: .min)
        bitmap.set(5000..<(1 << 20))
        var copy = bitmap.copy()
        let equalAtFirst = copy == bitmap
        #expect(equalAtFirst)
        #expect(copy.runs() == [4608..<1_048_576])
        copy.set(0..<1)
        let equalAfterwards = copy.isEqual(to: bitmap)
        #expect(!equalAfterwards)
        #expect(bitmap.isDirty(at: 0) == false)
    }

    @Test func `equality needs the same size and granularity`() {
        let bitmap = DirtyBitmap(size: 4096, granularity: .min)
        let sameWords = DirtyBitmap(size: 4095, granularity: .min)
        let coarser = DirtyBitmap(size: 4096, granularity: .default)
        let equalSizes = bitmap == sameWords
        let equalGranularities = bitmap == coarser
        #expect(!equalSizes)
        #expect(!equalGranularities)
    }
}
