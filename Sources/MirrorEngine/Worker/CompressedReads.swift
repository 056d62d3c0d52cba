internal import BlockStorage
internal import DirtyBitmap
internal import Ring

/// The compressed stretches of a disk that are on their way: read by the ring into a buffer, then
/// decompressed elsewhere into the memory of whom they are for.
///
/// Invariant: a buffer is in `free`, or it has an entry.
struct CompressedReads {
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

    private let area: CompressedArea
    private let requestSize: Int
    private let decompression: (any DecompressionDriver)?
    private var entries: [Entry?]
    private var free: [CompressedIndex]

    /// - Parameter decompression: needed where the area has buffers. It is a helper of the queue.
    init(_ area: CompressedArea, requestSize: Int, decompression: (any DecompressionDriver)?) {
        precondition(area.count == 0 || decompression != nil)
        self.area = area
        self.requestSize = requestSize
        self.decompression = decompression
        entries = Array(repeating: nil, count: area.count)
        free = (0..<area.count).reversed().map { CompressedIndex($0) }
    }

    var hasRoom: Bool {
        precondition(area.count > 0, "a map that has nothing compressed found it all the same")
        return !free.isEmpty
    }

    /// Takes a buffer for a stretch. Precondition: `hasRoom`.
    mutating func add(_ entry: Entry) -> CompressedIndex {
        precondition(entry.extent.compressedLength <= area.size - 2 * entry.extent.alignment)
        let index = free.removeLast()
        entries[index.rawValue] = entry
        return index
    }

    /// Gives a buffer back. Returns what was in it.
    mutating func remove(_ index: CompressedIndex) -> Entry {
        let entry = self[index]
        entries[index.rawValue] = nil
        free.append(index)
        return entry
    }

    subscript(index: CompressedIndex) -> Entry {
        guard let entry = entries[index.rawValue] else {
            preconditionFailure("buffer \(index.rawValue) is free")
        }
        return entry
    }

    /// The read of a stretch's compressed bytes, whose positions are those of the file.
    func transfer(_ index: CompressedIndex) -> Transfer {
        let entry = self[index]
        let block = Int64(entry.extent.alignment)
        let start = entry.extent.hostOffset.roundedDown(to: block)
        let end = (entry.extent.hostOffset + Int64(entry.extent.compressedLength))
            .roundedUp(to: block)
        return Transfer(
            .readCompressed, file: entry.file, owner: .compressed(index), range: start..<end,
            bufferOffset: area.buffer(index).lowerBound, alignment: entry.extent.alignment,
            stride: Int64(requestSize))
    }

    /// Has a stretch decompressed whose bytes have been read, or as many as there are in the file.
    mutating func decompress(_ index: CompressedIndex, _ read: Transfer, in slab: BufferSlab) {
        guard let decompression else { preconditionFailure("nothing here decompresses") }
        let entry = self[index]
        let buffer = area.buffer(index).lowerBound
        let count = Int(read.position - read.start)
        let start = min(Int(entry.extent.hostOffset - read.start), count)
        let end = min(start + entry.extent.compressedLength, count)
        decompression.start(
            DecompressionTask(
                number: index.rawValue, slab: slab, compressed: (buffer + start)..<(buffer + end),
                output: entry.output, compression: entry.extent.compression,
                clusterLength: entry.extent.clusterLength, skip: entry.extent.skip))
    }
}
