internal import BlockStorage
internal import DirtyBitmap
internal import Ring

/// Brings runs of disks into memory: read from where they live, decompressed, or cleared. Copying
/// and comparing share it.
///
/// A reading is one run of one side. Whoever uses it begins one, calls `startNext` while there is
/// room in the queue until all of it was asked for, hands over what comes of it, and looks whether
/// it is over.
struct RunReader {
    /// A disk that is read, and where the queue has its files.
    struct Side {
        let map: any SourceMap
        /// The queue's number of the map's first file.
        let firstFile: Int
    }

    struct Reading {
        var side = 0
        var range: Range<Int64> = 0..<0
        /// Where the slab has the first byte of the run.
        var memory = 0
        /// The next byte that no transfer was started for.
        var cursor: Int64 = 0
        /// Transfers and decompressions that were started and have not ended.
        var outstanding = 0
        /// Bytes that are zero and share a block with bytes that are read: they are cleared when
        /// the read is over. Nearly always empty.
        var lateZeros: [Range<Int64>] = []

        /// All of it was asked for.
        var isStarted: Bool { cursor == range.upperBound }
        /// All of it was asked for, and nothing is on its way any more.
        var isOver: Bool { isStarted && outstanding == 0 }

        /// Where the slab has a stretch of the run.
        func memory(_ stretch: Range<Int64>) -> Range<Int> {
            let start = memory + Int(stretch.lowerBound - range.lowerBound)
            return start..<(start + stretch.count)
        }
    }

    // Set at creation, never changed.

    private let sides: [Side]
    private let requestSize: Int

    private var readings: [Reading]
    private(set) var compressed: CompressedReads
    /// Readings whose next bytes are compressed, and for which there was no buffer.
    private var starved: IndexQueue<ReadingIndex>

    /// - Parameters:
    ///   - readings: how many there are at most.
    ///   - area: where the slab has room for compressed bytes.
    ///   - decompression: needed where a side may be compressed. It is a helper of the queue.
    init(
        _ sides: [Side], readings: Int, compressed area: CompressedArea, requestSize: Int,
        decompression: (any DecompressionDriver)?
    ) {
        self.sides = sides
        self.requestSize = requestSize
        self.readings = Array(repeating: Reading(), count: readings)
        compressed = CompressedReads(area, requestSize: requestSize, decompression: decompression)
        starved = IndexQueue(capacity: readings)
    }

    subscript(index: ReadingIndex) -> Reading {
        _read { yield readings[index.rawValue] }
    }

    /// Begins a reading. Precondition: the one before it at this index is over.
    ///
    /// - Parameter memory: where the slab is to have the first byte of the run.
    mutating func begin(
        _ index: ReadingIndex, side: Int, _ range: Range<Int64>, memory: Int
    ) {
        precondition(readings[index.rawValue].outstanding == 0, "two runs at one place")
        var reading = Reading()
        reading.side = side
        reading.range = range
        reading.memory = memory
        reading.cursor = range.lowerBound
        readings[index.rawValue] = reading
    }

    /// Starts the next read of a reading, or clears what is known to be zero.
    ///
    /// - Precondition: the queue has room, and the reading is not yet started to its end.
    /// - Returns: false if there is no buffer for compressed bytes. `finishCompressed` tells when
    ///   there is one.
    mutating func startNext<Queue: RequestQueue & ~Copyable>(
        _ index: ReadingIndex, _ transfers: inout TransferQueue<Queue>
    ) throws(StorageError) -> Bool {
        let place = index.rawValue
        assert(!readings[place].isStarted)
        let offset = readings[place].cursor
        let side = readings[place].side
        switch try sides[side].map.locate(at: offset, limit: readings[place].range.upperBound) {
        case .stored(let extent):
            // Cut to a request: what follows is asked for again, and goes beside it.
            let range = offset..<(offset + min(extent.length, Int64(requestSize)))
            transfers.start(
                Transfer(
                    .read, file: sides[side].file(extent.file), owner: .reading(index),
                    range: range, hostDelta: extent.hostOffset - offset,
                    bufferOffset: readings[place].memory(range).lowerBound,
                    alignment: extent.alignment, stride: Int64(requestSize)))
            advance(place, to: range.upperBound)
            readings[place].outstanding += 1
        case .zero(let length):
            clear(offset..<(offset + length), place, transfers.queue.buffers)
            advance(place, to: offset + length)
        case .compressed(let extent):
            guard compressed.hasRoom else {
                starved.append(index)
                return false
            }
            let range = offset..<(offset + extent.length)
            let buffer = compressed.add(
                CompressedReads.Entry(
                    owner: index, file: sides[side].file(extent.file), extent: extent,
                    range: range, output: readings[place].memory(range)))
            transfers.start(compressed.transfer(buffer))
            advance(place, to: range.upperBound)
            readings[place].outstanding += 1
        }
        return true
    }

    private mutating func advance(_ place: Int, to offset: Int64) {
        precondition(offset > readings[place].cursor, "a map gave an empty extent")
        precondition(offset <= readings[place].range.upperBound, "a map gave too much")
        readings[place].cursor = offset
    }

    /// Makes a stretch zero in memory.
    private mutating func clear(_ range: Range<Int64>, _ place: Int, _ buffers: BufferSlab) {
        var start = range.lowerBound
        let block = start.roundedUp(to: Int64(sides[readings[place].side].map.alignment))
        if start < block && readings[place].outstanding > 0 {
            // The read before it asks for the whole block, and the kernel may still fill that.
            let end = min(block, range.upperBound)
            readings[place].lateZeros.append(start..<end)
            start = end
        }
        buffers.clear(readings[place].memory(start..<range.upperBound))
    }

    /// Clears what had to wait until all reads had ended. Precondition: the reading is over.
    mutating func clearLateZeros(_ index: ReadingIndex, _ buffers: BufferSlab) {
        assert(readings[index.rawValue].isOver)
        for range in readings[index.rawValue].lateZeros {
            buffers.clear(readings[index.rawValue].memory(range))
        }
        readings[index.rawValue].lateZeros.removeAll()
    }

    /// A read or a decompression of a reading has ended, well or badly.
    mutating func finishPart(_ index: ReadingIndex) {
        precondition(readings[index.rawValue].outstanding > 0, "a read ended that was not begun")
        readings[index.rawValue].outstanding -= 1
    }

    /// Nothing more of it will be asked for.
    mutating func giveUp(_ index: ReadingIndex) {
        readings[index.rawValue].cursor = readings[index.rawValue].range.upperBound
    }

    // MARK: compressed bytes

    /// Has compressed bytes decompressed that have arrived.
    mutating func decompress(_ index: CompressedIndex, _ read: Transfer, _ buffers: BufferSlab) {
        compressed.decompress(index, read, in: buffers)
    }

    /// Gives a buffer back, whatever became of its bytes.
    ///
    /// - Returns: the reading that has waited longest for one, and may go on before all others.
    mutating func finishCompressed(_ index: CompressedIndex) -> ReadingIndex? {
        finishPart(compressed.remove(index).owner)
        return starved.popFirst()
    }

    /// Nobody waits for a buffer any more.
    mutating func abandonStarved() { starved.removeAll() }
}

extension RunReader.Side {
    func file(_ index: Int) -> FileIndex { FileIndex(UInt32(firstFile + index)) }
}

extension DiskMap {
    /// That a device was pulled out or resized: it answers like a full or short one, and is asked
    /// for its size when a request has failed.
    func shrinkage(_ side: MirrorSide) -> MirrorError? {
        do throws(StorageError) {
            guard let change = try sizeChange() else { return nil }
            return .shrank(side, name: name, from: change.from, to: change.to)
        } catch {
            return .storage(error)
        }
    }
}
