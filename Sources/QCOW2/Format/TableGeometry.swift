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

    /// The bits of an offset that no cluster's offset has.
    var misaligned: UInt64 { UInt64(clusterSize - 1) & EntryBits.offset }
}
