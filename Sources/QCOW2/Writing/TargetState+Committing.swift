internal import BlockStorage
internal import DirtyBitmap

/// How changes come to stable storage: they are sealed, taken as a batch, written by whoever holds
/// no lock of this, and then taken for what stable storage has.
extension TargetState {
    /// Notes what the tables say now. What they lead to has been written, and has to be flushed
    /// before it is made last.
    mutating func seal() {
        for index in dirtyTables {
            guard let changed = tables[index].takeDirty() else {
                assertionFailure("a table without changes is noted as changed")
                continue
            }
            sealed[index] = SealedTable(
                words: tables[index].words,
                changed: changed.spanning(sealed[index]?.changed ?? changed))
        }
        dirtyTables = []
        sealedDrops += dropped
        dropped = []
        checkInvariants()
    }

    /// Takes all that was sealed, to be written; nil if there is nothing. `noteCommitted` or
    /// `putBack` has to follow, before anything is taken again.
    mutating func takeSealed() throws(StorageError) -> CommitBatch? {
        precondition(committing.isEmpty, "two commits at once")
        guard !sealed.isEmpty || !sealedDrops.isEmpty else { return nil }
        checkInvariants()
        let indices = sealed.keys.sorted()
        // An entry may have changed without a place being asked for, when one was lost.
        for index in indices { try reserve(index) }
        let batch = CommitBatch(
            tables: indices.compactMap { index in
                let host = tables[index].host
                precondition(
                    host >= geometry.clusterSize, "a table would be written over the header")
                return sealed[index].map {
                    CommitBatch.Table(
                        index: index, host: host, isMoved: l1[index].offset != host, sealed: $0)
                }
            }, drops: sealedDrops)
        committing = Set(indices)
        sealed = [:]
        sealedDrops = []
        return batch
    }

    /// A batch is on stable storage.
    mutating func noteCommitted(_ batch: CommitBatch) throws(StorageError) {
        precondition(committing == Set(batch.tables.map(\.index)), "another batch was written")
        committing = []
        var released: [Int64] = []
        for table in batch.tables where table.isMoved {
            l1[table.index] = L1Entry(offset: table.host, isCopied: true)
            let shared = tables[table.index].shared
            guard shared != 0 else { continue }
            tables[table.index].shared = 0
            released.append(shared)
        }
        checkInvariants()
        // What can't be counted off now may leak. Nothing must be counted off twice.
        for offset in released { try writer.releaseTable(offset: offset) }
        for drop in batch.drops {
            try writer.release(offset: drop.offset, clusters: drop.count)
        }
    }

    /// A batch could not be written: stable storage may have any part of it.
    mutating func putBack(_ batch: CommitBatch) {
        committing = []
        for table in batch.tables {
            let newer = sealed[table.index]
            sealed[table.index] = SealedTable(
                words: newer?.words ?? table.sealed.words,
                changed: table.sealed.changed.spanning(newer?.changed ?? table.sealed.changed))
        }
        sealedDrops = batch.drops + sealedDrops
        checkInvariants()
    }
}
