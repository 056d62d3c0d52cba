internal import BlockStorage

/// The first table of an image: where the tables are that lead to the data.
enum L1Table {
    /// Says that the cluster of the entry belongs to nobody else, in both kinds of tables.
    static let copied: UInt64 = 1 << 63
    static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00

    static func offset(of entry: UInt64) -> Int64 { Int64(entry & offsetMask) }

    /// Reads the whole table, and checks that its entries can be what they are said to be.
    static func read(_ header: Header, _ file: any ImageFile) throws(StorageError) -> [UInt64] {
        let count = header.l1EntryCount
        guard count > 0 else { return [] }
        let length = try file.length()
        guard header.l1Offset >= header.clusterSize, header.l1Offset < length else {
            throw .damaged(file.path, at: 40, "the L1 table at \(header.l1Offset) is not there")
        }
        let bytes = try file.readFilled(at: header.l1Offset, count: count * 8)
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
                    file.path, at: header.l1Offset + Int64(index) * 8,
                    "an L2 table can't be at \(entry)")
            }
            entries.append(entry)
        }
        return entries
    }
}
