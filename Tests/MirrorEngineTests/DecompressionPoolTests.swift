import BlockStorage
import Ring
import Testing

@testable import MirrorEngine

/// The threads that decompress, and how a ring hears of them.
@Suite(.timeLimit(.minutes(20))) struct DecompressionPoolTests {
    /// Many tasks beside a real ring, whole clusters and parts of them, good and bad.
    @Test func `every task ends`() throws {
        let pool = DecompressionPool { RunLengthCode() }
        defer { pool.close() }
        let decompression = try pool.makeDecompressionDriver()
        let slab = try BufferSlab(byteCount: 2 << 20)
        let ring = try Ring(depth: 2, files: [decompression.descriptor], buffers: slab)
        var queue = CompositeQueue(ring, endpoints: [], helpers: [decompression])
        let count = 100
        let space = 16 << 10
        let clusters = (0..<count).map { [UInt8].pattern(4096, seed: UInt64($0)) }
        for (number, cluster) in clusters.enumerated() {
            var compressed = RunLengthCode.compress(cluster[...])
            if number % 10 == 9 { compressed[0] = 0 }
            let start = number * space
            slab.withMutableBytes(start..<(start + compressed.count)) { span in
                span.withUnsafeMutableBytes { $0.copyBytes(from: compressed) }
            }
            let skip = number % 3 == 0 ? 0 : 512
            decompression.start(
                DecompressionTask(
                    number: number, slab: slab, compressed: start..<(start + compressed.count),
                    output: (start + 8192)..<(start + 12288 - 2 * skip), compression: .zlib,
                    clusterLength: 4096, skip: skip))
        }
        var ended: [Int: Bool] = [:]
        while queue.inFlight > 0 {
            try queue.submitAndWait(minimum: 1, timeoutNanoseconds: nil)
            while let end = queue.nextCompletion() {
                let token = ClientToken(end.token)
                #expect(token.client == .decompression)
                #expect(ended.updateValue(end.result == 0, forKey: token.index) == nil)
            }
        }
        #expect(ended.count == count)
        for (number, cluster) in clusters.enumerated() {
            #expect(ended[number] == (number % 10 != 9))
            guard number % 10 != 9 else { continue }
            let skip = number % 3 == 0 ? 0 : 512
            let start = number * space + 8192
            let output = slab.withBytes(start..<(start + 4096 - 2 * skip)) { span in
                span.withUnsafeBytes { Array($0) }
            }
            #expect(output == Array(cluster[skip..<(4096 - skip)]), "\(number)")
        }
    }

    /// A pool that nobody used has no threads to wait for.
    @Test func `an unused pool can be closed`() throws {
        let pool = DecompressionPool { RunLengthCode() }
        _ = try pool.makeDecompressionDriver()
        pool.close()
    }
}

@Suite struct SlabLayoutTests {
    private func layout(_ compressedLength: Int, bufferBytes: Int, largestRun: Int) -> SlabLayout {
        let place = SimulatedMap.Place(
            disk: 0, offset: 0, form: compressedLength > 0 ? .compressed(compressedLength) : .stored
        )
        let source = SimulatedMap(
            scattered: [SimulatedDisk([0])], size: 1, pieceSize: 1, places: [place],
            alignment: 512, isTarget: false)
        return SlabLayout(
            source, bufferBytes: bufferBytes, largestRun: largestRun, requestSize: 512 << 10)
    }

    /// What an ordinary user may register is enough for clusters of the usual size.
    @Test(arguments: [0, 512, 64 << 10, 256 << 10])
    func `a slab usually takes no more than a user may register`(compressedLength: Int) {
        let layout = layout(compressedLength, bufferBytes: 15 << 19, largestRun: 512 << 10)
        #expect(layout.byteCount <= 8 << 20)
        #expect(layout.runBytes >= 5 << 20)
        #expect(compressedLength == 0 ? layout.compressed.count == 0 : layout.compressed.count >= 4)
    }

    /// Two runs and two buffers fit, however large they are and however little was asked for.
    @Test(arguments: [0, 2 << 20], [4096, 15 << 19])
    func `a slab always takes enough`(compressedLength: Int, bufferBytes: Int) {
        let layout = layout(compressedLength, bufferBytes: bufferBytes, largestRun: 2 << 20)
        #expect(layout.runBytes >= 4 << 20)
        #expect(compressedLength == 0 || layout.compressed.count >= 2)
        #expect(layout.compressed.range.lowerBound == layout.runBytes)
        #expect(layout.zeros.lowerBound == layout.compressed.range.upperBound)
        #expect(layout.zeros.count == 512 << 10)
    }
}
