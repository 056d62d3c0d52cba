internal import BlockStorage

/// The first table of an image: where the tables are that lead to the data.
enum L1Table {
    /// Says that the cluster of the entry belongs to nobody else, in both kinds of tables.
    static let copied: UInt64 = 1 << 63
    static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00

    static func offset(of entry: UInt64) -> Int64 { Int64(entry & offsetMask) }

    /// Reads the whole table, and checks that its entries can be what they are said to be.
    static func read(_ header: Header, _ file: any ImageFile) throws(StorageError) -> [UInt64] {
        let length = try file.length()
        guard
            header.l1EntryCount == 0
                || (header.l1Offset >= header.clusterSize && header.l1Offset < length)
        else {
            throw .damaged(file.path, at: 40, "the L1 table at \(header.l1Offset) is not there")
        }
        return try read(at: header.l1Offset, count: header.l1EntryCount, header, file)
    }

    /// The same of any L1 table of the image, also one of a snapshot.
    static func read(
        at start: Int64, count: Int, _ header: Header, _ file: any ImageFile
    ) throws(StorageError) -> [UInt64] {
        guard count > 0 else { return [] }
        let length = try file.length()
        let bytes = try file.readFilled(at: start, count: count * 8)
        var entries: [UInt64] = []
        entries.reserveCapacity(count)
        for index in 0..<count {
            let entry = bytes.bigEndian64(at: index * 8)
            let offset = offset(of: entry)
            guard entry & ~(copied | offsetMask) == 0, offset & (header.clusterSize - 1) == 0,
                offset != 0 || entry == 0,
                offset == 0 || (offset >= header.clusterSize && offset < length)
            else {
                throw .damaged(
                    file.path, at: start + Int64(index) * 8,
                    "an L2 table can't be at \(entry)")
            }
            entries.append(entry)
        }
        return entries
    }
}
