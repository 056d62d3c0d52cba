package import BlockStorage
internal import DirtyBitmap

/// How the memory of one ring is divided: runs on their way, compressed bytes that wait for their
/// decompression, and zeros to write.
package struct SlabLayout: Sendable {
    /// Bytes of runs, from the slab's beginning.
    package let runBytes: Int
    package let compressed: CompressedArea
    package let zeros: Range<Int>

    package var byteCount: Int { zeros.upperBound }

    /// Divides `bufferBytes` between runs and compressed bytes, or takes more where that is not
    /// enough to read one run while another is written.
    ///
    /// - Parameter largestRun: bytes of the largest run.
    package init(
        _ source: any SourceMap, bufferBytes: Int, largestRun: Int, requestSize: Int
    ) {
        let compressed = CompressedArea.fitting(source, atMost: bufferBytes / 4)
        let isRoomy = compressed.count == 0 && largestRun <= requestSize
        let least = isRoomy ? largestRun : 2 * largestRun
        let page = CompressedArea.page
        runBytes = max((bufferBytes - compressed.byteCount).roundedDown(to: page), least)
        self.compressed = compressed.starting(at: runBytes)
        let end = self.compressed.range.upperBound
        zeros = end..<(end + requestSize)
    }
}

/// Buffers for compressed bytes, all of one size.
package struct CompressedArea: Sendable, Equatable {
    package let start: Int
    /// Bytes of a buffer.
    package let size: Int
    package let count: Int

    static let page = 4096
    /// More than that would only wait for the threads that decompress.
    private static let countMax = 32

    var byteCount: Int { size * count }
    package var range: Range<Int> { start..<(start + byteCount) }

    /// As many buffers as fit into so many bytes, but at least two, so that one is filled while
    /// another is decompressed. None for a source without compressed bytes.
    static func fitting(_ source: any SourceMap, atMost bytes: Int) -> CompressedArea {
        guard source.compressedLengthMax > 0 else {
            return CompressedArea(start: 0, size: 0, count: 0)
        }
        // Read outward to whole blocks at both ends.
        let size = (source.compressedLengthMax + 2 * source.alignment).roundedUp(to: page)
        return CompressedArea(start: 0, size: size, count: min(max(bytes / size, 2), countMax))
    }

    func starting(at start: Int) -> CompressedArea {
        CompressedArea(start: start, size: size, count: count)
    }

    /// The bytes of a buffer in the slab.
    func buffer(_ index: CompressedIndex) -> Range<Int> {
        (start + index.rawValue * size)..<(start + (index.rawValue + 1) * size)
    }
}
