import DirtyBitmap
import TestSupport
import Testing

/// Runs, limits and the places where a scan could stop too early or too late.
@Suite struct ScanningTests {
    private func bitmap(granules: Int64) -> DirtyBitmap {
        DirtyBitmap(size: granules * 512, granularity: .min)
    }

    @Test func `a limit is rounded down to granules`() {
        var bitmap = bitmap(granules: 200)
        bitmap.set(512..<76800)
        #expect(bitmap.nextDirtyRun(from: 0, limit: 1024) == 512..<1536)
        #expect(bitmap.nextDirtyRun(from: 0, limit: 1535) == 512..<1536)
        #expect(bitmap.nextDirtyRun(from: 0, limit: 1536) == 512..<2048)
        #expect(bitmap.nextDirtyRun(from: 0) == 512..<76800)
    }

    @Test func `a limit below a granule gives one granule`() {
        var bitmap = bitmap(granules: 4)
        bitmap.setAll()
        #expect(bitmap.nextDirtyRun(from: 0, limit: 1) == 0..<512)
        #expect(bitmap.nextDirtyRun(from: 512, limit: 511) == 512..<1024)
    }

    @Test func `a start is rounded down to its granule`() {
        var bitmap = bitmap(granules: 4)
        bitmap.set(512..<1024)
        #expect(bitmap.nextDirtyRun(from: 1023) == 512..<1024)
        #expect(bitmap.nextDirtyRun(from: 1024) == nil)
    }

    @Test func `a start at the end finds nothing, even in a short granule`() {
        var bitmap = DirtyBitmap(size: 700, granularity: .min)
        bitmap.setAll()
        #expect(bitmap.nextDirtyRun(from: 699) == 512..<700)
        #expect(bitmap.nextDirtyRun(from: 700) == nil)
        #expect(bitmap.nextDirty(from: 700) == nil)
        bitmap.clearAll()
        #expect(bitmap.nextClean(from: 700) == nil)
    }

    @Test func `the next dirty and the next clean byte stay at an offset inside a granule`() {
        var bitmap = bitmap(granules: 4)
        bitmap.set(512..<1024)
        #expect(bitmap.nextDirty(from: 3) == 512)
        #expect(bitmap.nextDirty(from: 700) == 700)
        #expect(bitmap.nextClean(from: 3) == 3)
        #expect(bitmap.nextClean(from: 700) == 1024)
    }

    /// One run at every place and of every length around the words, found from every start.
    @Test func `every run is found from every start`() {
        let granules: Int64 = 140
        for first in [0, 1, 62, 63, 64, 65, 127, 128] as [Int64] {
            for length in [1, 2, 63, 64, 65] as [Int64] where first + length <= granules {
                var bitmap = bitmap(granules: granules)
                bitmap.set((first * 512)..<((first + length) * 512))
                for start in 0..<granules {
                    let run = bitmap.nextDirtyRun(from: start * 512)
                    let lower = max(start, first)
                    let end = first + length
                    let expected = start < end ? (lower * 512)..<(end * 512) : nil
                    #expect(run == expected, "run \(first)+\(length) from granule \(start)")
                }
            }
        }
    }

    /// One bit at a time in a bitmap of many blocks: no block and no remainder is passed over.
    @Test func `every single bit is found across blocks`() {
        let granules: Int64 = 64 * 150
        var dirty = bitmap(granules: granules)
        var clean = bitmap(granules: granules)
        clean.setAll()
        for granule in stride(from: 0, to: granules, by: 31) {
            let range = (granule * 512)..<(granule * 512 + 512)
            dirty.set(range)
            clean.clear(range)
            #expect(dirty.nextDirty(from: 0) == range.lowerBound)
            #expect(dirty.runs() == [range])
            #expect(clean.nextClean(from: 0) == range.lowerBound)
            dirty.clear(range)
            clean.set(range)
        }
    }

    @Test func `taking all runs empties the bitmap and misses nothing`() {
        var random = RandomTest.generator(defaultSeed: 0x7A_CE)
        let shape = Shape(size: 5000 * 512 + 17, granularity: .min)
        var bitmap = DirtyBitmap(size: shape.size, granularity: shape.granularity)
        for _ in 0..<200 { bitmap.set(random.range(in: shape)) }
        bitmap.clear(1024..<4096)
        let expected = bitmap.runs()
        var taken: [Range<Int64>] = []
        var cursor: Int64 = 0
        while let run = bitmap.takeDirtyRun(from: cursor, limit: 7 * 512) {
            #expect(run.count <= 7 * 512, "\(random.replay)")
            #expect(run.lowerBound >= cursor, "\(random.replay)")
            cursor = run.upperBound
            if let last = taken.last, last.upperBound == run.lowerBound {
                taken[taken.count - 1] = last.lowerBound..<run.upperBound
            } else {
                taken.append(run)
            }
        }
        #expect(taken == expected, "\(random.replay)")
        #expect(bitmap.isClean == true, "\(random.replay)")
    }

    @Test func `a throwing body ends the scan`() {
        struct Enough: Error {}
        var bitmap = bitmap(granules: 300)
        for granule in stride(from: 0 as Int64, to: 300, by: 2) {
            bitmap.set((granule * 512)..<(granule * 512 + 1))
        }
        var runs = 0
        #expect(throws: Enough.self) {
            try bitmap.forEachDirtyRun { _ in
                runs += 1
                if runs == 3 { throw Enough() }
            }
        }
        #expect(runs == 3)
        var words = 0
        #expect(throws: Enough.self) {
            try bitmap.forEachWord { _, _ in
                words += 1
                throw Enough()
            }
        }
        #expect(words == 1)
    }

    @Test func `empty words are not visited`() {
        var bitmap = bitmap(granules: 64 * 100)
        bitmap.set((64 * 70 * 512)..<(64 * 70 * 512 + 512))
        var visited: [Int] = []
        bitmap.forEachWord { index, word in
            visited.append(index)
            #expect(word == 1)
        }
        #expect(visited == [70])
    }
}
