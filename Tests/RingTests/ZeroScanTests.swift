import TestSupport
import Testing

@testable import Ring

/// Scanning for zeros and differences.
@Suite struct ZeroScanTests {
    @Test func `one bit among words is found, wherever it is, at every length`() {
        var generator = RandomTest.generator(defaultSeed: 4)
        for count in Array(0...200) + [1000, 65536] {
            var words = [UInt64](repeating: 0, count: count)
            let isZero = isAllZero(words.span)
            #expect(isZero, "\(count) words")
            let positions = count <= 200 ? Array(0..<count) : [0, 31, 32, count - 33, count - 1]
            for position in positions {
                words[position] = 1 << UInt64.random(in: 0..<64, using: &generator)
                let found = isAllZero(words.span)
                #expect(!found, "word \(position) of \(count), \(generator.replay)")
                words[position] = 0
            }
        }
    }

    @Test(arguments: 0..<4)
    func `differences match a naive loop`(round: UInt64) {
        var generator = RandomTest.generator(defaultSeed: 5 + round)
        for count in Array(0...200) + [4096, 65536 + 3] {
            let first = randomBytes(count, &generator)
            var second = first
            let changes = [0, 1, count, Int.random(in: 0...20, using: &generator)]
            for _ in 0..<changes[Int(round)] where count > 0 {
                // The same byte may be hit twice, and may be hit with what it was.
                second[Int.random(in: 0..<count, using: &generator)] ^=
                    UInt8.random(in: 0...255, using: &generator)
            }
            let positions = (0..<count).filter { first[$0] != second[$0] }
            let result = differences(first.span.bytes, second.span.bytes)
            #expect(result.count == positions.count, "\(count) bytes, \(generator.replay)")
            #expect(result.firstOffset == positions.first, "\(count) bytes, \(generator.replay)")
        }
    }

    @Test func `memory off the words is compared as well`() throws {
        let slab = try BufferSlab(byteCount: 1)
        slab.fill([UInt8](repeating: 1, count: 100), at: 3)
        slab.fill([UInt8](repeating: 1, count: 100), at: 4097)
        slab.fill([2], at: 4097 + 99)
        let result = slab.withBytes(3..<103) { left in
            slab.withBytes(4097..<4197) { right in differences(left, right) }
        }
        #expect(result == (1, 99))
    }

    @Test func `stretches of different lengths are not compared`() async {
        await #expect(processExitsWith: .trap) {
            _ = differences([1, 2].span.bytes, [1].span.bytes)
        }
    }
}
