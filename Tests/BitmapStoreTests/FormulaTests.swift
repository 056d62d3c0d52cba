import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

/// What comes out by references is what comes out word by word.
@Suite struct FormulaTests {
    /// 300 pages in two tables; the last page and its last granule are short.
    private static let size = Int64(300 * BitLayout.granulesPerPage - 1000) * 512 - 99

    /// Bits of which many pages are clean, full, or the same as others.
    private func pattern(
        _ random: inout SeededGenerator, like other: borrowing DirtyBitmap
    ) -> DirtyBitmap {
        var bits = other.copy()
        let page = Int64(BitLayout.granulesPerPage) * 512
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            let first = Int64.random(in: 0..<300, using: &random)
            // A few pages, or as many as there are tables.
            let count = Int64.random(in: 0...1, using: &random) * 299
            let end = min(first * page + (count + 1) * page, Self.size)
            let range = (count == 0 ? first * page : 0)..<end
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bits.clear(range)
            case 1: bits.set(range)
            case 2: bits.set(range.lowerBound..<range.lowerBound + 1)
            case 3: bits.clear(range.lowerBound..<min(range.lowerBound + page / 2, Self.size))
            default:
                let place = Int64.random(in: range, using: &random)
                bits.set(place..<min(place + 5000, Self.size))
            }
        }
        return bits
    }

    @Test
    func `any row of unions and differences, with pages that are shared, full and clean`() throws {
        var random = RandomTest.generator(defaultSeed: 7)
        let (_, store) = try makeStore(disk("source", size: Int(Self.size)))
        for round in 0..<RandomTest.events(default: 40) {
            let place = "round \(round); \(random.replay)"
            var copy = random
            try store.transact { transaction throws(BitmapStoreError) in
                try check(&transaction, &copy, place)
            }
            random = copy
        }
    }

    private func check(
        _ transaction: inout Transaction, _ random: inout SeededGenerator, _ place: String
    ) throws(BitmapStoreError) {
        let first = pattern(&random, like: DirtyBitmap(size: Self.size, granularity: .min))
        let tree = try transaction.store(first)
        var formula = BitFormula(tree)
        var expected = first.copy()
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            var operand = pattern(&random, like: first)
            var stored = try transaction.store(operand, in: tree)
            if random.chance(percent: 10) {
                var coarse = DirtyBitmap(size: Self.size, granularity: .default)
                try! coarse.merge(operand)
                stored = try transaction.store(coarse)
                operand = coarse
            }
            if random.chance(percent: 50) {
                formula.merge(stored)
                try! expected.merge(operand)
            } else {
                formula.subtract(stored)
                try! expected.subtract(operand)
            }
        }
        let result = try transaction.evaluate(formula)
        #expect(result.dirtyBytes == expected.dirtyBytes, "\(place)")
        let loaded = try transaction.reader.load(result).isEqual(to: expected)
        #expect(loaded, "\(place)")
        let computed = try transaction.reader.load(formula).isEqual(to: expected)
        #expect(computed, "\(place)")
        // Once more adds nothing, and the same blocks stand for it.
        let same = try transaction.store(expected)
        for other in [result, same] {
            let merged = try transaction.merge(other, into: result)
            #expect(merged == result, "\(place)")
        }
        let merged = try transaction.merge(expected, into: result)
        #expect(merged == result, "\(place)")
        let stored = try transaction.store(expected, in: result)
        #expect(stored == result, "\(place)")
    }

    @Test(arguments: [9, 12, 16])
    func `merging from memory rounds as bitmaps do, at any granularity`(shift: Int) throws {
        var random = RandomTest.generator(defaultSeed: UInt64(shift))
        let (_, store) = try makeStore(disk("source", size: Int(Self.size)))
        let granularity = try Granularity(bytes: 1 << Int64(shift))
        for _ in 0..<5 {
            let before = pattern(&random, like: DirtyBitmap(size: Self.size, granularity: .min))
            let other = pattern(
                &random, like: DirtyBitmap(size: Self.size, granularity: granularity))
            var expected = before.copy()
            try expected.merge(other)
            try store.transact { transaction throws(BitmapStoreError) in
                let tree = try transaction.store(before)
                let result = try transaction.merge(other, into: tree)
                #expect(result.dirtyBytes == expected.dirtyBytes, "\(random.replay)")
                let loaded = try transaction.reader.load(result).isEqual(to: expected)
                #expect(loaded, "\(random.replay)")
            }
        }
    }
}
