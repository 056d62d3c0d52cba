internal import BlockStorage
internal import DirtyBitmap
internal import Ring

/// The compressed stretches of a disk that are on their way: read by the ring into a buffer, then
/// decompressed elsewhere into the memory of whom they are for.
///
/// Invariant: a buffer is in `free`, or it has an entry.
struct PackedReads {
    /// A stretch and whom it is for.
    struct Entry {
        /// What waits for the bytes.
        let owner: ReadingIndex
        let file: FileIndex
        let extent: CompressedExtent
        /// Where the stretch is on the disk.
        let range: Range<Int64>
        /// Where the slab is to have its bytes.
        let output: Range<Int>
    }

    private let area: PackedArea
    private let requestSize: Int
    private let unpacker: (any Unpacker)?
    private var entries: [Entry?]
    private var free: [PackedIndex]

    /// - Parameter unpacker: needed where the area has buffers. It is a helper of the queue.
    init(_ area: PackedArea, requestSize: Int, unpacker: (any Unpacker)?) {
        precondition(area.count == 0 || unpacker != nil)
        self.area = area
        self.requestSize = requestSize
        self.unpacker = unpacker
        entries = Array(repeating: nil, count: area.count)
        free = (0..<area.count).reversed().map { PackedIndex($0) }
    }

    var hasRoom: Bool {
        precondition(area.count > 0, "a map that has nothing compressed found it all the same")
        return !free.isEmpty
    }

    /// Takes a buffer for a stretch. Precondition: `hasRoom`.
    mutating func add(_ entry: Entry) -> PackedIndex {
        precondition(entry.extent.packedLength <= area.size - 2 * entry.extent.alignment)
        let index = free.removeLast()
        entries[index.rawValue] = entry
        return index
    }

    /// Gives a buffer back. Returns what was in it.
    mutating func remove(_ index: PackedIndex) -> Entry {
        let entry = self[index]
        entries[index.rawValue] = nil
        free.append(index)
        return entry
    }

    subscript(index: PackedIndex) -> Entry {
        guard let entry = entries[index.rawValue] else {
            preconditionFailure("buffer \(index.rawValue) is free")
        }
        return entry
    }

    /// The read of a stretch's compressed bytes, whose positions are those of the file.
    func transfer(_ index: PackedIndex) -> Transfer {
        let entry = self[index]
        let block = Int64(entry.extent.alignment)
        let start = entry.extent.hostOffset.roundedDown(to: block)
        let end = (entry.extent.hostOffset + Int64(entry.extent.packedLength))
            .roundedUp(to: block)
        return Transfer(
            .readPacked, file: entry.file, owner: .packed(index), range: start..<end,
            bufferOffset: area.buffer(index).lowerBound, alignment: entry.extent.alignment,
            stride: Int64(requestSize))
    }

    /// Has a stretch decompressed whose bytes have been read, or as many as there are in the file.
    mutating func unpack(_ index: PackedIndex, _ read: Transfer, in slab: BufferSlab) {
        guard let unpacker else { preconditionFailure("nothing decompresses here") }
        let entry = self[index]
        let buffer = area.buffer(index).lowerBound
        let count = Int(read.position - read.start)
        let start = min(Int(entry.extent.hostOffset - read.start), count)
        let end = min(start + entry.extent.packedLength, count)
        unpacker.start(
            UnpackTask(
                number: index.rawValue, slab: slab, packed: (buffer + start)..<(buffer + end),
                output: entry.output, compression: entry.extent.compression,
                clusterLength: entry.extent.clusterLength, skip: entry.extent.skip))
    }
}
