public import DirtyBitmap

/// What another tool says about the bytes of a disk: which have to be copied, which are zeros,
/// and which can be left alone.
///
/// A map is a value without ties to the file that it came from. It may be used from any thread.
public struct ChangeMap: Sendable, Hashable {
    /// What has to be done with a stretch of bytes so that the target reads as the source.
    public enum Meaning: Sendable, Hashable {
        /// The bytes have to be copied from the source.
        case copy
        /// The source reads as zeros, and the target has to as well.
        case zero
        /// The target already has these bytes, or nobody needs them.
        case skip
    }

    /// A stretch of the disk with one meaning; never empty.
    public struct Extent: Sendable, Hashable {
        /// Bytes of the disk, within `0..<size` of the map.
        public let range: Range<Int64>

        /// What has to be done with all of these bytes.
        public let meaning: Meaning
    }

    /// The format that was read, given by the caller or recognised from the content.
    public let format: ChangeMapFormat

    /// What the file says, in ascending order, without overlaps; neighbours that touch differ in
    /// their meaning.
    public let extents: [Extent]

    /// What the format means by saying nothing: the bytes between the extents.
    public let gaps: Meaning

    /// Bytes of the disk that the map was read for.
    public let size: Int64

    /// Bytes of the disk or image according to the file; nil if the format doesn't say.
    public let deviceSize: Int64?

    /// The name of the bitmap that was written to the file; only our own format has one.
    public let name: String?

    /// Bytes per bit of the bitmap that was written to the file; only our own format has it.
    public let granularity: Granularity?

    /// What the user should know before trusting the map, as whole sentences.
    public internal(set) var warnings: [String]

    /// Marks dirty what has to be copied or zeroed, rounding outward to whole granules.
    ///
    /// What was dirty stays dirty: nothing is cleared.
    ///
    /// - Precondition: the bitmap has the size for which the map was read.
    /// - Complexity: O(extents + words in them).
    public func mark(in bitmap: inout DirtyBitmap) {
        precondition(
            bitmap.size == size,
            "the map was read for \(size) bytes, and the bitmap has \(bitmap.size)")
        forEachRange { range, meaning in
            if meaning != .skip { bitmap.set(range) }
        }
    }

    /// Bytes that have to be copied or zeroed; not rounded to granules.
    ///
    /// - Complexity: O(extents).
    public var dirtyBytes: Int64 {
        var total: Int64 = 0
        forEachRange { range, meaning in
            if meaning != .skip { total += Int64(range.count) }
        }
        return total
    }

    /// Calls `body` with extents and gaps in ascending order: all of `0..<size`, each byte once.
    func forEachRange(_ body: (Range<Int64>, Meaning) -> Void) {
        var position: Int64 = 0
        for extent in extents {
            if position < extent.range.lowerBound {
                body(position..<extent.range.lowerBound, gaps)
            }
            body(extent.range, extent.meaning)
            position = extent.range.upperBound
        }
        if position < size { body(position..<size, gaps) }
    }
}
