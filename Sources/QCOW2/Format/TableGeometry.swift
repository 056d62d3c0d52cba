/// Where the tables say what is in one cluster of the disk.
package struct ClusterPosition: Sendable, Hashable {
    /// The L2 table, by the entry of the L1 table that leads to it.
    package let table: Int
    /// The entry in the L2 table, counted in entries and not in words.
    package let index: Int

    package init(table: Int, index: Int) {
        self.table = table
        self.index = index
    }
}

/// How the two levels of tables of an image divide its disk.
package struct TableGeometry: Sendable, Equatable {
    package let clusterBits: Int
    package let hasSubclusters: Bool
    /// Data lives in a file of its own, each cluster where the disk has it.
    package let hasDataFile: Bool
    /// Version 2 knows no zero clusters.
    package let knowsZeroClusters: Bool

    package init(_ header: Header) {
        clusterBits = header.clusterBits
        hasSubclusters = header.hasSubclusters
        hasDataFile = header.incompatible.contains(.dataFile)
        knowsZeroClusters = header.version >= 3
    }

    package var clusterSize: Int64 { 1 &<< Int64(clusterBits) }
    /// 64-bit words of an entry in an L2 table.
    package var wordsPerEntry: Int { hasSubclusters ? 2 : 1 }
    package var wordsPerTable: Int { 1 &<< (clusterBits &- 3) }
    package var entriesPerTable: Int { wordsPerTable / wordsPerEntry }
    /// log2 of the bytes of the disk that one L2 table maps.
    package var coverageBits: Int { clusterBits + clusterBits - (hasSubclusters ? 4 : 3) }
    /// log2 of the smallest piece that has a state of its own: a cluster, or a 32nd of one.
    package var pieceBits: Int { hasSubclusters ? clusterBits - 5 : clusterBits }
    package var pieceSize: Int64 { 1 &<< Int64(pieceBits) }

    /// The entry of the L1 table that leads to an offset of the disk.
    package func l1Index(of offset: Int64) -> Int { Int(offset &>> Int64(coverageBits)) }

    /// The entry for an offset of the disk in its L2 table, counted in entries and not in words.
    package func l2Index(of offset: Int64) -> Int {
        Int(offset &>> Int64(clusterBits)) & (entriesPerTable &- 1)
    }

    /// Where the tables have what they say about an offset of the disk.
    package func position(of offset: Int64) -> ClusterPosition {
        ClusterPosition(table: l1Index(of: offset), index: l2Index(of: offset))
    }

    /// Where the part of the disk begins that an L2 table maps.
    func start(ofTable table: Int) -> Int64 { Int64(table) << Int64(coverageBits) }

    /// Where a cluster begins on the disk.
    func start(of position: ClusterPosition) -> Int64 {
        start(ofTable: position.table) + Int64(position.index) << Int64(clusterBits)
    }

    /// Bytes of an L2 table before an entry.
    func byteOffset(of index: Int) -> Int64 { Int64(index * wordsPerEntry * 8) }

    /// The bits of an offset that no cluster's offset has.
    var misaligned: UInt64 { UInt64(clusterSize - 1) & EntryBits.offset }
}
