internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// Where the image has the bits of one bitmap: an entry for each cluster of them.
struct BitmapTable {
    /// Without an offset: all bits of the cluster are set.
    static let allOnes: UInt64 = 1
    private static let reservedMask = ~(EntryBits.offset | allOnes)

    let entries: [UInt64]

    /// Reads and checks the table of an entry without a flaw.
    static func read(
        of entry: BitmapEntry, _ header: Header, _ file: any ImageFile
    ) throws(StorageError) -> BitmapTable {
        let tableOffset = Int64(entry.tableOffset)
        let count = Int(entry.tableEntryCount)
        let bytes = try file.read(at: tableOffset, count: count * 8)
        let fileLength = try file.length()
        func broken(_ index: Int, _ what: String) -> StorageError {
            .image(
                .brokenBitmap(
                    file.path, at: tableOffset + Int64(index) * 8, name: entry.shownName, what))
        }
        guard bytes.count == count * 8 else {
            throw broken(0, "the file ends within its table")
        }
        var entries: [UInt64] = []
        entries.reserveCapacity(count)
        for index in 0..<count {
            let value = bytes.bigEndian64(at: index * 8)
            let offset = value & EntryBits.offset
            guard value & reservedMask == 0, offset == 0 || value & allOnes == 0,
                offset & UInt64(header.clusterSize - 1) == 0,
                offset == 0 || Int64(offset) <= fileLength - header.clusterSize
            else {
                throw broken(
                    index,
                    "0x\(String(value, radix: 16)) can't be in its table, in a file of "
                        + "\(fileLength) bytes")
            }
            entries.append(value)
        }
        return BitmapTable(entries: entries)
    }

    /// The offset of the cluster that an entry names; nil if it names none.
    static func cluster(_ entry: UInt64) -> Int64? {
        let offset = entry & EntryBits.offset
        return offset == 0 ? nil : Int64(offset)
    }
}

/// The bits of one bitmap, piece by piece.
struct BitmapBits {
    enum Piece {
        /// Some bits that are set, all of them.
        case ones(Range<Int>)
        /// Bits as the image has them, from the given one on: whole words, without any behind the
        /// last granule.
        case data(firstBit: Int, [UInt8])
    }

    private static let pieceBytesMax: Int64 = 1 << 20

    let entry: BitmapEntry
    let header: Header
    let file: any ImageFile

    /// Calls `body` for all that may have bits set, in ascending order. Memory is taken for one
    /// piece at a time.
    func forEach(_ body: (Piece) throws(StorageError) -> Void) throws(StorageError) {
        let table = try BitmapTable.read(of: entry, header, file)
        let extent = BitmapExtent(header, granularityBits: entry.granularityBits)
        // A bitmap in use may be of a size that the disk had before.
        guard extent.clusterCount == Int64(table.entries.count) else {
            throw .image(
                .brokenBitmap(
                    file.path, at: entry.offset + 8, name: entry.shownName,
                    "its table is for a disk of another size"))
        }
        let granules = Int(extent.granuleCount)
        let clusterSize = header.clusterSize
        let bitsPerCluster = Int(clusterSize) * 8
        var index = 0
        while index < table.entries.count {
            let firstBit = index * bitsPerCluster
            let value = table.entries[index]
            guard let offset = BitmapTable.cluster(value) else {
                index += 1
                if value == BitmapTable.allOnes {
                    try body(.ones(firstBit..<min(firstBit + bitsPerCluster, granules)))
                }
                continue
            }
            var count = 1
            while index + count < table.entries.count,
                Int64(count + 1) * clusterSize <= Self.pieceBytesMax,
                BitmapTable.cluster(table.entries[index + count]) == offset + Int64(count)
                    * clusterSize
            { count += 1 }
            let wanted = count * Int(clusterSize)
            var bytes = try file.read(at: offset, count: wanted)
            guard bytes.count == wanted else {
                throw .image(
                    .brokenBitmap(
                        file.path, at: offset, name: entry.shownName,
                        "the file ends within its bits"))
            }
            Self.cut(&bytes, toBits: granules - firstBit)
            try body(.data(firstBit: firstBit, bytes))
            index += count
        }
    }

    /// Only as many bits are left as there are granules, in whole words; what is behind them means
    /// nothing.
    private static func cut(_ bytes: inout [UInt8], toBits count: Int) {
        guard count < bytes.count * 8 else { return }
        bytes.removeLast(bytes.count - count.dividedRoundingUp(by: 64) * 8)
        guard count % 64 != 0 else { return }
        var bit = count
        while bit < bytes.count * 8 {
            bytes[bit / 8] &= bit % 8 == 0 ? 0 : UInt8(1 << (bit % 8)) - 1
            bit = (bit / 8 + 1) * 8
        }
    }

    /// Memory is taken for all bits, which is 512 MiB at most.
    func load(_ granularity: Granularity) throws(StorageError) -> DirtyBitmap {
        var bits = DirtyBitmap(size: header.size, granularity: granularity)
        let geometry = bits.geometry
        try forEach { piece throws(StorageError) in
            switch piece {
            case .ones(let range): bits.set(geometry.bytes(ofGranules: range))
            case .data(let firstBit, let bytes):
                do throws(DirtyBitmapError) {
                    try bits.load(words: bytes, at: firstBit / 64)
                } catch {
                    preconditionFailure("the piece was cut to the bitmap: \(error)")
                }
            }
        }
        return bits
    }

    /// How much is dirty, without the memory for all bits.
    func count(_ granularity: Granularity) throws(StorageError) -> (granules: Int, bytes: Int64) {
        let granules = Int(
            BitmapExtent(header, granularityBits: entry.granularityBits).granuleCount)
        var count = 0
        var hasLast = false
        try forEach { piece throws(StorageError) in
            switch piece {
            case .ones(let range):
                count += range.count
                if range.upperBound == granules { hasLast = true }
            case .data(let firstBit, let bytes):
                for byte in bytes { count += byte.nonzeroBitCount }
                let last = granules - 1 - firstBit
                if last < bytes.count * 8, bytes[last / 8] >> UInt8(last % 8) & 1 == 1 {
                    hasLast = true
                }
            }
        }
        guard hasLast else { return (count, Int64(count) * granularity.bytes) }
        // The last granule may be short.
        let before = Int64(granules - 1) << Int64(granularity.shift)
        return (count, Int64(count - 1) * granularity.bytes + header.size - before)
    }
}
