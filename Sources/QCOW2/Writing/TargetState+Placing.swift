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
        try reserve(table)
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
            do throws(StorageError) {
                try useOwn(table, piece)
            } catch {
                // What has its place keeps it. Whoever asks for the rest hears of it.
                guard rest.lowerBound > range.lowerBound else { throw error }
                break
            }
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
                guard number > 0 else { throw error }
                break
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
}
