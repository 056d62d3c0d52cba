internal import BlockStorage
internal import Ring

/// The compressed stretches of a disk that are on their way: read by the ring into a buffer, then
/// decompressed elsewhere into the memory of whom they are for.
///
/// Invariant: a buffer is in `free`, or it has an entry. Of those with an entry, `unpacking` are
/// with the unpacker.
struct PackedReads {
    /// A stretch and whom it is for.
    struct Entry {
        /// Whoever waits for the bytes.
        let owner: Int
        let file: FileIndex
        let extent: CompressedExtent
        /// Where the stretch is on the disk.
        let range: Range<Int64>
        /// Where the slab is to have its bytes.
        let output: Range<Int>
    }

    /// How many are being decompressed.
    private(set) var unpacking = 0
    private let area: PackedArea
    private let requestSize: Int
    private let unpacker: (any Unpacker)?
    private let bell: FileIndex
    private var entries: [Entry?]
    private var free: [Int]

    /// - Parameter bell: which of the queue's files is the unpacker's descriptor.
    init(
        _ area: PackedArea, requestSize: Int, unpacker: (any Unpacker)?, bell: Int
    ) {
        precondition(area.count == 0 || unpacker != nil)
        self.area = area
        self.requestSize = requestSize
        self.unpacker = unpacker
        self.bell = FileIndex(UInt32(bell))
        entries = Array(repeating: nil, count: area.count)
        free = Array((0..<area.count).reversed())
    }

    var hasRoom: Bool {
        precondition(area.count > 0, "a map that has nothing compressed found it all the same")
        return !free.isEmpty
    }

    /// Takes a buffer for a stretch. Precondition: `hasRoom`.
    mutating func add(_ entry: Entry) -> Int {
        precondition(entry.extent.packedLength <= area.size - 2 * entry.extent.alignment)
        let index = free.removeLast()
        entries[index] = entry
        return index
    }

    /// Gives a buffer back. Returns what was in it.
    mutating func remove(_ index: Int) -> Entry {
        let entry = self[index]
        entries[index] = nil
        free.append(index)
        return entry
    }

    subscript(index: Int) -> Entry {
        guard let entry = entries[index] else { preconditionFailure("buffer \(index) is free") }
        return entry
    }

    /// The read of a stretch's compressed bytes, whose positions are those of the file.
    func transfer(_ index: Int) -> Transfer {
        let entry = self[index]
        let mask = Int64(entry.extent.alignment) - 1
        let start = entry.extent.hostOffset & ~mask
        let end = (entry.extent.hostOffset + Int64(entry.extent.packedLength) + mask) & ~mask
        return Transfer(
            .readPacked, file: entry.file, owner: index, range: start..<end,
            bufferOffset: area.buffer(index).lowerBound, alignment: entry.extent.alignment,
            stride: Int64(requestSize))
    }

    /// Has a stretch decompressed whose bytes have been read, or as many as there are in the file.
    mutating func unpack(_ read: Transfer, in slab: BufferSlab) {
        let entry = self[read.owner]
        let buffer = area.buffer(read.owner).lowerBound
        let count = Int(read.position - read.start)
        let start = min(Int(entry.extent.hostOffset - read.start), count)
        let end = min(start + entry.extent.packedLength, count)
        unpacking += 1
        unpacker?.start(
            UnpackTask(
                number: read.owner, slab: slab, packed: (buffer + start)..<(buffer + end),
                output: entry.output, compression: entry.extent.compression,
                clusterLength: entry.extent.clusterLength, skip: entry.extent.skip))
    }

    /// The transfer that ends when something has been decompressed.
    var poll: Transfer {
        Transfer(.poll, file: bell, owner: -1, range: 0..<1, alignment: 1, stride: 1)
    }

    /// Answers the poll.
    func acknowledge() { unpacker?.acknowledge() }

    /// The next that was decompressed, or could not be; it keeps its buffer.
    mutating func nextEnd() -> (index: Int, isGood: Bool)? {
        guard let end = unpacker?.nextEnd() else { return nil }
        unpacking -= 1
        return (end.number, end.isGood)
    }
}
