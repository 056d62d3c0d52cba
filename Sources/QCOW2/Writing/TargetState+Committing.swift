internal import BlockStorage
internal import DirtyBitmap

/// How changes come to stable storage.
extension TargetState {
    /// Notes what the tables say now. What they lead to has been written, and has to be flushed
    /// before `commit`.
    mutating func seal() {
        for index in dirtyTables {
            guard let changed = tables[index].takeDirty() else {
                assertionFailure("a table without changes is noted as changed")
                continue
            }
            let old = sealed[index]?.changed ?? changed
            let range =
                min(old.lowerBound, changed.lowerBound)..<max(old.upperBound, changed.upperBound)
            sealed[index] = SealedTable(words: tables[index].words, changed: range)
        }
        dirtyTables = []
        sealedDrops += dropped
        dropped = []
        checkInvariants()
    }

    /// Makes what was sealed last.
    mutating func commit() throws(StorageError) {
        guard !sealed.isEmpty || !sealedDrops.isEmpty else { return }
        checkInvariants()
        let file = writer.file
        let indices = sealed.keys.sorted()
        // An entry may have changed without a place being asked for, when one was lost.
        for index in indices { try reserve(index) }
        try writer.flushRefcounts()
        try file.sync()
        for index in indices { try write(index) }
        try file.sync()
        try commitL1(indices)
        sealed = [:]
        // What can't be counted off now may leak. Nothing must be counted off twice.
        while let drop = sealedDrops.popLast() {
            try writer.release(offset: drop.offset, clusters: drop.count)
        }
    }

    private func write(_ index: Int) throws(StorageError) {
        guard let table = sealed[index] else { preconditionFailure("the table is not sealed") }
        let host = tables[index].host
        precondition(host >= geometry.clusterSize, "a table would be written over the header")
        guard l1[index].offset == host else {
            try writer.file.write(table.words.bigEndianBytes(), at: host)
            return
        }
        // Whole sectors: the disk would have to read the others.
        let first = table.changed.lowerBound.roundedDown(to: 64)
        let end = min(table.changed.upperBound.roundedUp(to: 64), table.words.count)
        try writer.file.write(
            Array(table.words[first..<end]).bigEndianBytes(), at: host + Int64(first) * 8)
    }

    /// Has the L1 table lead to tables that are new.
    private mutating func commitL1(_ indices: [Int]) throws(StorageError) {
        let moved = indices.filter { l1[$0].offset != tables[$0].host }
        guard !moved.isEmpty else { return }
        let start = writer.header.l1Offset
        var changed = l1
        for index in moved {
            changed[index] = L1Entry(offset: tables[index].host, isCopied: true)
        }
        var position = 0
        while position < moved.count {
            var end = position + 1
            while end < moved.count, moved[end] == moved[end - 1] + 1 { end += 1 }
            let words = changed[moved[position]...moved[end - 1]].map(\.encoded)
            try writer.file.write(words.bigEndianBytes(), at: start + Int64(moved[position]) * 8)
            position = end
        }
        try writer.file.sync()
        l1 = changed
        for index in moved {
            let shared = tables[index].shared
            guard shared != 0 else { continue }
            tables[index].shared = 0
            try writer.releaseTable(offset: shared)
        }
    }
}
