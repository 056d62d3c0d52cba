internal import BlockStorage
internal import DirtyBitmap

/// What becomes of clusters that have their places: their bytes come, or they don't.
extension TargetState {
    /// Notes that bytes have arrived where they were to go.
    mutating func wrote(_ range: Range<Int64>) {
        var rest = range
        while !rest.isEmpty {
            let table = geometry.l1Index(of: rest.lowerBound)
            let end = min(geometry.start(ofTable: table + 1), rest.upperBound)
            // Bytes that were written over others are in no table that has to change.
            if tables.contains(table), !tables[table].pending.isEmpty {
                wrote(rest.lowerBound..<end, inTable: table)
            }
            rest = end..<rest.upperBound
        }
    }

    private mutating func wrote(_ range: Range<Int64>, inTable table: Int) {
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            rest = piece.upperBound..<rest.upperBound
            let index = geometry.l2Index(of: piece.lowerBound)
            guard var pending = tables[table].pending.removeValue(forKey: index) else { continue }
            pending.receive(piece)
            if pending.missing.isEmpty {
                settle(ClusterPosition(table: table, index: index), pending)
            } else {
                tables[table].pending[index] = pending
            }
        }
        checkInvariants(ofTable: table)
    }

    /// Has the table in memory lead to a cluster whose bytes are all there.
    ///
    /// Precondition: the cluster is pending no longer.
    private mutating func settle(_ position: ClusterPosition, _ pending: PendingCluster) {
        assert(self.pending(at: position) == nil, "a cluster is complete, and waits")
        guard let old = try? entry(at: position) else {
            preconditionFailure("the entry was good when the cluster got its place")
        }
        assert(
            pending.isNew == (old.state.parts?.host != pending.host),
            "the cluster was replaced while its bytes were on their way")
        set(position, to: L2Entry(.data(host: pending.host), isCopied: true))
        if pending.isNew { drop(old.state) }
    }

    /// Takes their places from the clusters that a range touches and that wait for bytes. They stay
    /// counted until the end: something is bad there, and bytes may still be on their way.
    ///
    /// - Returns: the range, and all of the clusters whose places are gone: what has come of them
    ///   is nowhere.
    mutating func lost(_ range: Range<Int64>) -> Range<Int64> {
        var widened = range
        var rest = range
        while !rest.isEmpty {
            let piece = firstCluster(of: rest)
            rest = piece.upperBound..<rest.upperBound
            let position = geometry.position(of: piece.lowerBound)
            guard let pending = takePending(at: position) else { continue }
            widened = widened.spanning(bytes(of: position))
            if pending.isNew {
                abandon(.data(host: pending.host))
            } else {
                leavePlace(position)
            }
            checkInvariants(ofTable: position.table)
        }
        assert(widened.clamped(to: range) == range, "some of what is lost would not be told")
        return widened
    }

    /// Takes a cluster that waits for bytes out of its table; nil if there is none, as in a table
    /// that is not in memory.
    private mutating func takePending(at position: ClusterPosition) -> PendingCluster? {
        guard tables.contains(position.table) else { return nil }
        return tables[position.table].pending.removeValue(forKey: position.index)
    }

    /// Has an entry forget a cluster of its own in which nothing is. If there is anything it stays.
    private mutating func leavePlace(_ position: ClusterPosition) {
        guard let old = try? entry(at: position), let parts = old.state.parts,
            parts.host != nil, parts.allocated == 0
        else { return }
        let state = ClusterState(host: nil, allocated: 0, zero: parts.zero)
        set(position, to: L2Entry(state))
        abandon(old.state)
    }

    /// Notes a cluster that no table in memory leads to, and that nobody else may have yet.
    private mutating func abandon(_ state: ClusterState) {
        if let clusters = HostClusters(state, geometry) { abandoned.append(clusters) }
    }

    /// Gives back the places that were lost.
    ///
    /// Precondition: nothing is in flight, and what the tables in memory say is on stable storage.
    mutating func releaseAbandoned() throws(StorageError) {
        precondition(
            dirtyTables.isEmpty && sealed.isEmpty && committing.isEmpty,
            "a table may still lead to a lost place")
        // As with what is dropped: nothing must be counted off twice.
        while let clusters = abandoned.popLast() {
            try writer.release(offset: clusters.offset, clusters: clusters.count)
        }
    }

    /// Gives back the clusters whose bytes have not come, and will not. What has come of others is
    /// kept, with what was around it.
    ///
    /// - Returns: whether something was written that has to be flushed.
    mutating func giveUpWaiting() throws(StorageError) -> Bool {
        var hasWritten = false
        let waiting = tables.numbers.flatMap { table in
            tables[table].pending.keys.map { ClusterPosition(table: table, index: $0) }
        }
        for position in waiting {
            guard let pending = takePending(at: position) else {
                preconditionFailure("a cluster that waits was taken twice")
            }
            if pending.hasReceived {
                let job = ClusterFill(position: position, host: pending.host, isFresh: false)
                let old = try entry(at: position)
                for range in pending.missing { try fill(job, range, old) }
                settle(position, pending)
                hasWritten = true
            } else if pending.isNew {
                try writer.release(offset: pending.host, clusters: 1)
            }
        }
        return hasWritten
    }
}
