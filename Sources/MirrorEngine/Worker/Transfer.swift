package import Ring

/// One stretch of bytes on its way between a file and memory: a cursor that at most one request at
/// a time moves from `position` to `end`.
///
/// Short reads and writes move the cursor a little, failures shrink the requests, and neither needs
/// a second transfer. Positions are those of the disk, not of the file that holds it, but for
/// compressed bytes.
package struct Transfer: Sendable {
    package enum Kind: UInt8, Sendable {
        case read, write
        /// Reads compressed bytes, of which there may be fewer than were asked for.
        case readCompressed
        /// Writes zeros from the queue's zero area, again and again.
        case writeZeros
        case punchHole, zeroRange

        var isZeroing: Bool { self == .punchHole || self == .zeroRange || self == .writeZeros }
    }

    /// Whom the outcome is for. The transfer queue doesn't look at it.
    package enum Owner: Sendable, Hashable {
        /// A run on its way into memory.
        case reading(ReadingIndex)
        /// A buffer for compressed bytes.
        case compressed(CompressedIndex)
        /// A run on its way to the target.
        case slot(SlotIndex)
    }

    package var kind: Kind
    package var file: FileIndex
    package var owner: Owner
    package var start: Int64
    package var position: Int64
    package var end: Int64
    /// `position` plus this is the offset in the file.
    package var hostDelta: Int64
    /// `position` plus this is the offset in the slab.
    package var bufferDelta: Int64
    /// Offsets in the file and lengths are multiples of this, a power of two; the last read may go
    /// past `end` for it.
    package var alignment: Int64
    /// The largest request, in bytes.
    package var stride: Int64

    // Owned by the transfer queue.

    var fullStride: Int64
    var requested: Int64 = 0
    /// `TransferQueue.resumes` when the request was made.
    var resumes = 0
    /// Bytes before `position` that its owner chose to leave out.
    var skipped: Int64 = 0
    var fruitlessTries: Int32 = 0
    /// The most bytes of the block at `position` that came, when only a part of it did.
    var partOfBlock: Int64 = 0

    /// The file's bytes from the first to the last that was asked for; nil if there are none.
    var hostRange: Range<Int64>? {
        start < end ? (start + hostDelta)..<(end + hostDelta) : nil
    }

    /// Bytes that arrived.
    package var transferred: Int64 { position - start - skipped }

    package init(
        _ kind: Kind, file: FileIndex, owner: Owner, range: Range<Int64>, hostDelta: Int64 = 0,
        bufferOffset: Int = 0, alignment: Int, stride: Int64
    ) {
        self.kind = kind
        self.file = file
        self.owner = owner
        self.start = range.lowerBound
        self.position = range.lowerBound
        self.end = range.upperBound
        self.hostDelta = hostDelta
        self.bufferDelta = Int64(bufferOffset) - range.lowerBound
        self.alignment = Int64(alignment)
        self.stride = stride
        self.fullStride = stride
    }
}

/// Why bytes could not be transferred.
public enum FailureCause: Sendable, Equatable {
    /// The kernel said so; an errno.
    case errno(CInt)
    /// The file ended before the bytes did.
    case endOfFile
    /// The kernel moved no bytes, or too few to go on, many times in a row.
    case noProgress
    /// The bytes were read, and don't make what they are to be decompressed to.
    case corruptData
}
