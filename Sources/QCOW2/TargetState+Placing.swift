internal import BlockStorage

/// Where the bytes go that are about to be written.
extension TargetState {
    /// Finds or makes a place for the bytes from `offset` on, up to `limit` or as far as it goes.
    ///
    /// - Returns: the offset in the file, and where the stretch ends on the disk.
    mutating func place(
        at offset: Int64, limit: Int64
    ) throws(StorageError) -> (host: Int64, end: Int64) {
        let table = geometry.l1Index(of: offset)
        try load(table)
        let tableEnd = Int64(table + 1) << Int64(geometry.coverageBits)
        let range = offset..<min(limit, tableEnd)
        if let host = try ownPlace(table, firstCluster(of: range)) {
            return (host, try placeInOwn(table, range, host))
        }
        return try placeInNew(table, range)
    }

    /// The bytes of a range that are in its first cluster.
    func firstCluster(of range: Range<Int64>) -> Range<Int64> {
        let end = (range.lowerBound | (geometry.clusterSize - 1)) + 1
        return range.lowerBound..<min(end, range.upperBound)
    }

    /// Where the bytes of one cluster may be written without taking a new one; nil if they can't.
    private func ownPlace(
        _ table: Int, _ range: Range<Int64>
    ) throws(StorageError) -> Int64? {
        let index = geometry.l2Index(of: range.lowerBound)
        let inside = range.lowerBound & (geometry.clusterSize - 1)
        if let pending = tables[table]?.pending[index] { return pending.host + inside }
        let entry = try entry(table, index)
        guard entry.isCopied, let host = entry.state.parts?.host else { return nil }
        try writer.checkData(offset: host)
        return host + inside
    }

    /// Takes clusters that are there already, as long as they lie side by side.
    private mutating func placeInOwn(
        _ table: Int, _ range: Range<Int64>, _ host: Int64
    ) throws(StorageError) -> Int64 {
        var rest = range
        repeat {
            let piece = firstCluster(of: rest)
            try useOwn(table, piece)
            rest = piece.upperBound..<rest.upperBound
            guard !rest.isEmpty else { break }
        } while try ownPlace(table, firstCluster(of: rest)) == host + rest.lowerBound
            - range.lowerBound
        return rest.lowerBound
    }

    /// Gets a cluster that is there ready for the bytes of a range. Where they are data already
    /// there is nothing to do: they are overwritten.
    private mutating func useOwn(_ table: Int, _ range: Range<Int64>) throws(StorageError) {
        let index = geometry.l2Index(of: range.lowerBound)
        if tables[table]?.pending[index] != nil {
            tables[table]?.pending[index]?.expect(range)
            return
        }
        let entry = try entry(table, index)
        guard let parts = entry.state.parts, let host = parts.host else { return }
        let added = self.parts(touching: range) & ~parts.allocated
        if added == 0 { return }
        let job = ClusterFill(table: table, index: index, host: host, isFresh: false)
        try use(job, range, parts: added, entry)
    }

    /// Takes new clusters for as much of a range as they can be had for side by side.
    private mutating func placeInNew(
        _ table: Int, _ range: Range<Int64>
    ) throws(StorageError) -> (host: Int64, end: Int64) {
        var count = 1
        var end = firstCluster(of: range).upperBound
        while end < range.upperBound {
            let piece = firstCluster(of: end..<range.upperBound)
            if try ownPlace(table, piece) != nil { break }
            count += 1
            end = piece.upperBound
        }
        let clusters = try writer.allocateData(upTo: count)
        var rest = range
        for number in 0..<clusters.count {
            let piece = firstCluster(of: rest)
            let host = clusters.offset + Int64(number) << Int64(geometry.clusterBits)
            do throws(StorageError) {
                try useNew(table, piece, host, clusters.isFresh)
            } catch {
                try writer.release(offset: host, clusters: clusters.count - number)
                throw error
            }
            rest = piece.upperBound..<range.upperBound
        }
        let inside = range.lowerBound & (geometry.clusterSize - 1)
        return (clusters.offset + inside, rest.lowerBound)
    }

    private mutating func useNew(
        _ table: Int, _ range: Range<Int64>, _ host: Int64, _ isFresh: Bool
    ) throws(StorageError) {
        let index = geometry.l2Index(of: range.lowerBound)
        let entry = try entry(table, index)
        // What was data has to be in the new cluster too; the other parts stay as they are.
        let kept = entry.state.parts?.allocated ?? .max
        let job = ClusterFill(table: table, index: index, host: host, isFresh: isFresh)
        try use(job, range, parts: parts(touching: range) | kept, entry)
    }

    /// Gets parts of a cluster ready that are no data in it yet.
    ///
    /// A cluster that is going to be written whole appears in the table when its bytes have come.
    /// One of which only a part is written appears at once, with what it had: others may write
    /// other parts, and the bytes of each have to last without waiting for the others.
    private mutating func use(
        _ job: ClusterFill, _ range: Range<Int64>, parts: UInt32, _ old: L2Entry
    ) throws(StorageError) {
        let disk = bytes(job.table, job.index)
        let isNew = old.state.parts?.host != job.host
        if range == disk {
            // Nobody sees what is behind the end of the disk, until the disk grows.
            let end = disk.lowerBound + geometry.clusterSize
            try fill(job, disk.upperBound..<end, old)
            tables[job.table]?.pending[job.index] = PendingCluster(
                host: job.host, isNew: isNew, missing: [range])
            return
        }
        try fill(job, parts: parts, old)
        let (_, allocated, zero) = old.state.parts ?? (nil, 0, 0)
        let now = allocated | parts
        let state = ClusterState(host: job.host, allocated: now, zero: zero & ~now)
        set(job.table, job.index, L2Entry(state, isCopied: true))
        if isNew { drop(old.state) }
    }

    // MARK: When the bytes have come

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
