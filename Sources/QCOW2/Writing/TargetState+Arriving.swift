internal import BlockStorage

/// What becomes of clusters that have their places: their bytes come, or they don't.
extension TargetState {
    /// Notes that bytes have arrived where they were to go.
    mutating func wrote(_ range: Range<Int64>) {
        var rest = range
        while !rest.isEmpty {
            let table = geometry.l1Index(of: rest.lowerBound)
            let tableEnd = Int64(table + 1) << Int64(geometry.coverageBits)
            let inTable = rest.lowerBound..<min(tableEnd, rest.upperBound)
            if tables[table]?.pending.isEmpty == false { wrote(table, inTable) }
            rest = inTable.upperBound..<rest.upperBound
        }
    }

    private mutating func wrote(_ table: Int, _ range: Range<Int64>) {
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            let index = geometry.l2Index(of: piece.lowerBound)
            tables[table]?.pending[index]?.receive(piece)
            if let pending = tables[table]?.pending[index], pending.missing.isEmpty {
                tables[table]?.pending[index] = nil
                settle(table, index, pending)
            }
            rest = piece.upperBound..<rest.upperBound
        }
    }

    /// Has the table in memory lead to a cluster whose bytes are all there.
    private mutating func settle(_ table: Int, _ index: Int, _ pending: PendingCluster) {
        guard let old = try? entry(table, index) else {
            preconditionFailure("the entry was good when the cluster got its place")
        }
        set(table, index, L2Entry(.data(host: pending.host), isCopied: true))
        if pending.isNew { drop(old.state) }
    }

    /// Takes their places from the clusters that a range touches and that wait for bytes. They stay
    /// counted: something is bad there, and bytes may still be on their way.
    ///
    /// - Returns: the range, and all of the clusters whose places are gone: what has come of them
    ///   is nowhere.
    mutating func lost(_ range: Range<Int64>) -> Range<Int64> {
        var widened = range
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            rest = piece.upperBound..<rest.upperBound
            let table = geometry.l1Index(of: piece.lowerBound)
            let index = geometry.l2Index(of: piece.lowerBound)
            guard let pending = tables[table]?.pending.removeValue(forKey: index) else { continue }
            let whole = bytes(table, index)
            widened =
                min(
                    widened.lowerBound, whole.lowerBound)..<max(
                    widened.upperBound, whole.upperBound)
            if !pending.isNew { leavePlace(table, index) }
        }
        return widened
    }

    /// Has an entry forget a cluster of its own in which nothing is. If there is anything it stays.
    private mutating func leavePlace(_ table: Int, _ index: Int) {
        guard let old = try? entry(table, index), let parts = old.state.parts,
            parts.host != nil, parts.allocated == 0
        else { return }
        let state = ClusterState(host: nil, allocated: 0, zero: parts.zero)
        set(table, index, L2Entry(state))
    }

    /// Gives back the clusters whose bytes have not come, and will not. What has come of others is
    /// kept, with what was around it.
    ///
    /// - Returns: whether something was written that has to be flushed.
    mutating func giveUpWaiting() throws(StorageError) -> Bool {
        var hasWritten = false
        for (table, index) in tables.flatMap({ item in
            item.value.pending.keys.map { (item.key, $0) }
        }) {
            guard let pending = tables[table]?.pending.removeValue(forKey: index) else { continue }
            if pending.hasReceived {
                let job = ClusterFill(
                    table: table, index: index, host: pending.host, isFresh: false)
                let old = try entry(table, index)
                for range in pending.missing { try fill(job, range, old) }
                settle(table, index, pending)
                hasWritten = true
            } else if pending.isNew {
                try writer.release(offset: pending.host, clusters: 1)
            }
        }
        return hasWritten
    }
}
