/// What can be wrong with the sizes, granularities and stored bits that a bitmap is made from.
///
/// Only input from outside (users, files) is answered with an error. Calling a method with an
/// offset that isn't in the bitmap is a defect of the caller and stops the program.
public enum DirtyBitmapError: Error, Sendable, Hashable {
    /// The number isn't a power of two from 512 to 2 GiB.
    case invalidGranularity(bytes: Int64)

    /// The size of the disk is below zero.
    case negativeSize(Int64)

    /// The bitmap would have more than `DirtyBitmap.granuleCountMax` bits.
    case tooManyGranules(size: Int64, granularity: Granularity)

    /// Two bitmaps were to be combined that don't describe disks of the same size.
    case sizesDiffer(size: Int64, other: Int64)

    /// The stored form has another length than a bitmap of this size and granularity has.
    case wrongByteCount(found: Int, expected: Int)

    /// A page of stored words isn't made of whole 8-byte words.
    case partialWord(byteCount: Int)

    /// A page of stored words reaches past the last word of the bitmap.
    case pageOutOfBounds(firstWord: Int, wordCount: Int, bitmapWordCount: Int)

    /// The stored form has a bit set behind the bit of the last granule.
    case bitPastEnd(bit: Int, granuleCount: Int)
}

extension DirtyBitmapError: CustomStringConvertible {
    /// What is wrong and what to do about it, as one sentence.
    public var description: String {
        switch self {
        case .invalidGranularity(let bytes):
            return "granularity \(bytes) is not a power of two from 512 to 2147483648 bytes"
                + Self.suggestion(for: bytes)
        case .negativeSize(let size):
            return "a bitmap can't have the size \(size): pass the size of the disk in bytes, "
                + "0 or more"
        case .tooManyGranules(let size, let granularity):
            let needed = BitmapGeometry.smallestGranularity(forSize: size)
            return "a bitmap of \(size) bytes at granularity \(granularity) would need more than "
                + "\(DirtyBitmap.granuleCountMax) bits: use a granularity of at least \(needed)"
        case .sizesDiffer(let size, let other):
            return "the bitmaps describe disks of different sizes, \(size) and \(other) bytes: "
                + "only bitmaps of the same size can be combined"
        case .wrongByteCount(let found, let expected):
            return "the stored bitmap has \(found) bytes where its size and granularity need "
                + "\(expected): it is truncated or belongs to another disk; don't use it"
        case .partialWord(let byteCount):
            return "a page of \(byteCount) bytes doesn't hold whole words: pass a multiple of "
                + "8 bytes"
        case .pageOutOfBounds(let firstWord, let wordCount, let bitmapWordCount):
            return "a page of \(wordCount) words at word \(firstWord) doesn't fit into a bitmap of "
                + "\(bitmapWordCount) words: the page belongs to another bitmap; don't use it"
        case .bitPastEnd(let bit, let granuleCount):
            return "bit \(bit) is set in a bitmap of \(granuleCount) granules: the stored bitmap "
                + "is damaged or belongs to another disk; don't use it"
        }
    }

    /// The nearest legal values, so that nobody has to work out powers of two by hand.
    private static func suggestion(for bytes: Int64) -> String {
        if bytes <= Granularity.min.bytes { return ": use 512 or more" }
        if bytes >= Granularity.max.bytes { return ": use 2147483648 or less" }
        let below = Int64(1) << Int64(63 - bytes.leadingZeroBitCount)
        return ": use \(below) or \(below * 2)"
    }
}
