import BlockStorage
import Testing

@testable import QCOW2

/// What is in memory of an image's tables, and that nothing else is ever changed.
@Suite struct LoadedPiecesTests {
    @Test func `changes reach the piece itself`() {
        var pieces = LoadedPieces<[Int]>()
        pieces.insert([1, 2], at: 7)
        pieces[7][0] = 5
        pieces[7].append(3)
        #expect(pieces[7] == [5, 2, 3])
        #expect(pieces.count == 1 && pieces.contains(7) && !pieces.contains(8))
    }

    @Test func `those unused longest come first, and only idle ones`() {
        var pieces = LoadedPieces<Int>()
        for number in 0..<6 { pieces.insert(number * 10, at: number) }
        pieces.touch(0)
        pieces.touch(2)
        #expect(pieces.leastUsed(3) { _, _ in true } == [1, 3, 4])
        #expect(pieces.leastUsed(9) { number, piece in number > 1 && piece < 50 } == [3, 4, 2])
        pieces.remove([1, 3])
        #expect(pieces.numbers == [0, 2, 4, 5])
    }

    @Test func `what is not in memory stops the program`() async {
        await #expect(processExitsWith: .failure) {
            let pieces = LoadedPieces<Int>()
            _ = pieces[3]
        }
        await #expect(processExitsWith: .failure) {
            var pieces = LoadedPieces<Int>()
            pieces[3] = 1
        }
        await #expect(processExitsWith: .failure) {
            var pieces = LoadedPieces<Int>()
            pieces.touch(3)
        }
    }

    @Test func `a piece in memory is not replaced`() async {
        await #expect(processExitsWith: .failure) {
            var pieces = LoadedPieces<Int>()
            pieces.insert(1, at: 3)
            pieces.insert(2, at: 3)
        }
    }

    @Test func `a cluster that is in use is not taken`() async {
        await #expect(processExitsWith: .failure) {
            var block = RefcountBlock(bytes: [UInt8](repeating: 0, count: 512), order: 4)
            block.take(0..<3)
            block.take(2..<4)
        }
    }
}
