internal import BlockStorage

/// Which L2 tables an image has, and what leads to them: its own L1 table and those of its
/// snapshots.
struct L2References {
    struct Table: Equatable {
        let offset: Int64
        /// Entries of L1 tables that lead to it.
        var references: UInt64
        /// Whether the disk as it is now has it, and not snapshots alone.
        var isActive: Bool
        /// Whether the L1 table says that nothing else leads to it.
        var isExclusive: Bool
    }

    private var found: [Table] = []

    init(
        _ header: Header, _ file: any ImageFile, _ snapshots: [ImageSnapshot]
    ) throws(StorageError) {
        for entry in try L1Table.read(of: header, in: file, strictness: .writing)
        where entry != .none {
            found.append(
                Table(
                    offset: entry.offset, references: 1, isActive: true,
                    isExclusive: entry.isCopied))
        }
        for snapshot in snapshots where snapshot.l1EntryCount > 0 {
            let entries = try L1Table.read(
                at: snapshot.l1Offset, count: snapshot.l1EntryCount, of: header, in: file,
                strictness: .writing)
            for entry in entries where entry != .none {
                found.append(
                    Table(
                        offset: entry.offset, references: 1, isActive: false,
                        isExclusive: false))
            }
        }
    }

    /// Each table once, in the order of the file.
    consuming func sorted() -> [Table] {
        found.sort { $0.offset < $1.offset }
        var tables: [Table] = []
        tables.reserveCapacity(found.count)
        for next in found {
            guard let last = tables.last, last.offset == next.offset else {
                tables.append(next)
                continue
            }
            tables[tables.count - 1].references += 1
            tables[tables.count - 1].isActive = last.isActive || next.isActive
            tables[tables.count - 1].isExclusive = last.isExclusive || next.isExclusive
        }
        return tables
    }
}
