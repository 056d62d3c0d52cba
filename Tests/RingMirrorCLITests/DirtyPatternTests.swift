import RingMirror
import TestSupport
import Testing

@testable import RingMirrorCLI

@Suite struct DirtyPatternTests {
    /// The dirty runs in granules; the bitmap rounds a short last granule up.
    private func runs(_ bitmap: borrowing DirtyBitmap) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        let granule = bitmap.granularity.bytes
        bitmap.forEachDirtyRun { run in
            let end = (run.upperBound + granule - 1) / granule
            runs.append(Int(run.lowerBound / granule)..<Int(end))
        }
        return runs
    }

    private func choose(
        _ pattern: DirtyPattern, _ count: Int, size: Int64, granularity: Int64, clump: Int = 64,
        seed: UInt64
    ) throws -> DirtyBitmap {
        pattern.choose(
            count, size: size, granularity: try Granularity(bytes: granularity), clump: clump,
            seed: seed)
    }

    @Test(arguments: DirtyPattern.allCases)
    func `exactly as many granules are dirty as were asked for`(pattern: DirtyPattern) throws {
        var generator = RandomTest.generator(defaultSeed: 7)
        for _ in 0..<RandomTest.events(default: 400) {
            let granularity = Int64(512) << Int64.random(in: 0...7, using: &generator)
            let granules = Int.random(in: 1...700, using: &generator)
            let short = Int64.random(in: 0..<granularity, using: &generator)
            let size = Int64(granules) * granularity - short
            // Often at the ends: one, all but one, all.
            let count =
                generator.chance(percent: 30)
                ? [1, max(1, granules - 1), granules].randomElement(using: &generator)!
                : Int.random(in: 1...granules, using: &generator)
            let clump = Int.random(in: 1...80, using: &generator)
            let bitmap = try choose(
                pattern, count, size: size, granularity: granularity, clump: clump,
                seed: generator.next())
            let comment: Comment =
                "\(count) of \(granules) by \(granularity), clump \(clump); \(generator.replay)"
            #expect(bitmap.size == size, comment)
            #expect(bitmap.dirtyCount == count, comment)
            let runs = runs(bitmap)
            #expect(runs.allSatisfy { 0 <= $0.lowerBound && $0.upperBound <= granules }, comment)
            switch pattern {
            case .random: break
            case .sequential: #expect(runs.count == 1, comment)
            case .clumped:
                // Clumps may touch, and one is shorter.
                #expect(runs.count <= (count - 1) / min(clump, count) + 1, comment)
                #expect(runs.filter { $0.count % clump != 0 }.count <= 1, comment)
            }
        }
    }

    @Test(arguments: DirtyPattern.allCases)
    func `the seed determines the choice`(pattern: DirtyPattern) throws {
        func bitmap(_ seed: UInt64) throws -> DirtyBitmap {
            try choose(pattern, 300, size: 64 << 20, granularity: 4096, clump: 16, seed: seed)
        }
        for seed in [0, 1, .max] as [UInt64] {
            let first = try bitmap(seed)
            let second = try bitmap(seed)
            let other = try bitmap(seed &+ 1)
            let isSame = first.isEqual(to: second)
            #expect(isSame)
            let isOther = !first.isEqual(to: other)
            #expect(isOther)
        }
    }

    /// Each granule of a small disk has to become dirty about as often as any other.
    @Test(arguments: DirtyPattern.allCases, [1, 4, 7])
    func `no place is left out`(pattern: DirtyPattern, count: Int) throws {
        var hits = [Int](repeating: 0, count: 10)
        for seed in 0..<1000 as Range<UInt64> {
            let bitmap = try choose(
                pattern, count, size: 5120, granularity: 512, clump: 3, seed: seed)
            for granule in runs(bitmap).joined() { hits[granule] += 1 }
        }
        #expect(hits.reduce(0, +) == count * 1000)
        let expected = count * 100
        // Stretches reach the ends less often than the middle: only one start leads there.
        let least = pattern == .random ? expected * 6 / 10 : 50
        #expect(hits.allSatisfy { $0 >= least }, "\(hits)")
    }

    @Test func `pieces lie apart and not on a grid`() throws {
        let bitmap = try choose(
            .clumped, 640, size: 1 << 30, granularity: 4096, clump: 64, seed: 3)
        let runs = runs(bitmap)
        #expect(runs.count == 10)
        #expect(Set(runs.map { $0.lowerBound % 64 }).count > 1)
        let single = try choose(.random, 640, size: 1 << 30, granularity: 4096, seed: 3)
        #expect(self.runs(single).count > 600)
    }

    @Test func `the count is the nearest number and at least one`() {
        #expect(DirtyPattern.count(share: 0.001, of: 16384) == 16)
        #expect(DirtyPattern.count(share: 0.5, of: 5) == 3)
        #expect(DirtyPattern.count(share: 0.001, of: 10) == 1)
        #expect(DirtyPattern.count(share: 1, of: 16385) == 16385)
    }
}
