internal import BlockStorage
internal import DirtyBitmap

/// What one commit makes last: tables as they were when they were sealed. It stands on its own, so
/// that it is written while the tables in memory go on changing, and nobody who asks for a place
/// waits for the disk.
struct CommitBatch: Sendable {
    struct Table: Sendable {
        let index: Int
        /// Where it is written.
        let host: Int64
        /// Whether the L1 table does not lead there yet.
        let isMoved: Bool
        let sealed: SealedTable
    }

    /// In ascending order.
    let tables: [Table]
    /// Clusters to which nothing on stable storage refers any more, once this is written.
    let drops: [HostClusters]

    /// Writes it, in an order that leaves the image valid whenever the process dies.
    ///
    /// Precondition: what the tables lead to was flushed.
    func write(by writer: ImageWriter) throws(StorageError) {
        let file = writer.file
        try writer.flushRefcounts()
        try file.sync()
        for table in tables { try write(table, to: file) }
        try file.sync()
        let moved = tables.filter(\.isMoved)
        guard !moved.isEmpty else { return }
        try writeL1(moved, at: writer.header.l1Offset, to: file)
        try file.sync()
    }

    private func write(_ table: Table, to file: any ImageFile) throws(StorageError) {
        let words = table.sealed.words
        guard !table.isMoved else {
            return try file.write(words.bigEndianBytes(), at: table.host)
        }
        // Whole sectors: the disk would have to read the others.
        let first = table.sealed.changed.lowerBound.roundedDown(to: 64)
        let end = min(table.sealed.changed.upperBound.roundedUp(to: 64), words.count)
        try file.write(
            Array(words[first..<end]).bigEndianBytes(), at: table.host + Int64(first) * 8)
    }

    /// Has the L1 table lead to tables, those side by side at once.
    private func writeL1(
        _ moved: [Table], at start: Int64, to file: any ImageFile
    ) throws(StorageError) {
        var position = 0
        while position < moved.count {
            var end = position + 1
            while end < moved.count, moved[end].index == moved[end - 1].index + 1 { end += 1 }
            let words = moved[position..<end].map {
                L1Entry(offset: $0.host, isCopied: true).encoded
            }
            try file.write(words.bigEndianBytes(), at: start + Int64(moved[position].index) * 8)
            position = end
        }
    }
}
