/// What every change of a target's tables leaves true. In a release build nothing of it is looked
/// at.
extension TargetState {
    /// Looks at all tables with changes. Complexity: O(such tables and what is pending in them).
    func checkInvariants() {
        #if DEBUG
            for index in dirtyTables { checkInvariants(ofTable: index) }
            for index in sealed.keys { checkInvariants(ofTable: index) }
            for index in committing {
                assert(tables.contains(index), "a table that is being written is not in memory")
                assert(tables[index].host != 0, "a table that is being written has no place")
            }
            for clusters in dropped + sealedDrops + abandoned {
                assert(clusters.count > 0 && clusters.offset > 0, "the header was dropped")
                assert(
                    clusters.offset & (geometry.clusterSize - 1) == 0,
                    "what was dropped is no whole cluster")
            }
        #endif
    }

    /// Looks at one table. Complexity: O(pending clusters of the table).
    func checkInvariants(ofTable index: Int) {
        #if DEBUG
            let mask = geometry.clusterSize - 1
            let table = tables[index]
            assert(table.words.count == geometry.wordsPerTable, "a table has another length")
            assert(
                (table.dirty != nil) == dirtyTables.contains(index),
                "a change is not known, and would never be written")
            assert(table.host & mask == 0 && table.shared & mask == 0, "a table is no cluster")
            assert(table.host == 0 || table.host != table.shared, "a shared table is written")
            assert(
                table.pending.isEmpty || table.host != 0,
                "there may be no space for a table when its clusters have arrived")
            for (entry, pending) in table.pending {
                let disk = bytes(of: ClusterPosition(table: index, index: entry))
                assert(entry < geometry.entriesPerTable, "a cluster is beyond its table")
                assert(pending.host > 0 && pending.host & mask == 0, "a place is no cluster")
                assert(!pending.missing.isEmpty, "a cluster is complete, and waits")
                for range in pending.missing {
                    assert(
                        !range.isEmpty && range.clamped(to: disk) == range,
                        "a cluster waits for bytes that are not in it")
                }
            }
            guard let sealed = sealed[index] else { return }
            assert(sealed.words.count == geometry.wordsPerTable, "a table has another length")
            assert(
                sealed.changed.clamped(to: 0..<geometry.wordsPerTable) == sealed.changed
                    && !sealed.changed.isEmpty, "what has changed is not in the table")
        #endif
    }
}
