internal import BlockStorage
internal import DirtyBitmap

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
        try reserve(table)
        let range = offset..<min(limit, geometry.start(ofTable: table + 1))
        let place: (host: Int64, end: Int64)
        if let host = try ownPlace(firstCluster(of: range)) {
            place = (host, try placeInOwn(range, host))
        } else {
            place = try placeInNew(range)
        }
        assert(place.end > offset && place.end <= range.upperBound, "a place for other bytes")
        assert(place.host >= geometry.clusterSize, "the header would be overwritten")
        checkInvariants(ofTable: table)
        return place
    }

    /// The bytes of a range that are in its first cluster.
    func firstCluster(of range: Range<Int64>) -> Range<Int64> {
        let end = (range.lowerBound + 1).roundedUp(to: geometry.clusterSize)
        return range.lowerBound..<min(end, range.upperBound)
    }

    /// Where the bytes of one cluster may be written without taking a new one; nil if they can't.
    private func ownPlace(_ range: Range<Int64>) throws(StorageError) -> Int64? {
        let position = geometry.position(of: range.lowerBound)
        guard let host = try ownCluster(at: position) else { return nil }
        try writer.checkData(offset: host)
        return host + range.lowerBound & (geometry.clusterSize - 1)
    }

    /// The cluster at a position that waits for bytes, or that no snapshot shares; nil if there is
    /// none.
    private func ownCluster(at position: ClusterPosition) throws(StorageError) -> Int64? {
        if let pending = pending(at: position) { return pending.host }
        let entry = try entry(at: position)
        return entry.isCopied ? entry.state.parts?.host : nil
    }

    /// Takes clusters that are there already, as long as they lie side by side.
    private mutating func placeInOwn(
        _ range: Range<Int64>, _ host: Int64
    ) throws(StorageError) -> Int64 {
        var rest = range
        repeat {
            let piece = firstCluster(of: rest)
            do throws(StorageError) {
                try useOwn(piece)
            } catch {
                // What has its place keeps it. Whoever asks for the rest hears of it.
                guard rest.lowerBound > range.lowerBound else { throw error }
                break
            }
            rest = piece.upperBound..<rest.upperBound
            guard !rest.isEmpty else { break }
        } while try ownPlace(firstCluster(of: rest)) == host + rest.lowerBound
            - range.lowerBound
        return rest.lowerBound
    }

    /// Gets a cluster that is there ready for the bytes of a range. Where they are data already
    /// there is nothing to do: they are overwritten.
    private mutating func useOwn(_ range: Range<Int64>) throws(StorageError) {
        let position = geometry.position(of: range.lowerBound)
        if pending(at: position) != nil {
            tables[position.table].expect(range, at: position.index)
            return
        }
        let entry = try entry(at: position)
        guard let parts = entry.state.parts, let host = parts.host else { return }
        let added = self.parts(touching: range) & ~parts.allocated
        if added == 0 { return }
        let job = ClusterFill(position: position, host: host, isFresh: false)
        try use(job, range, parts: added, entry)
    }

    /// Takes new clusters for as much of a range as they can be had for side by side.
    private mutating func placeInNew(
        _ range: Range<Int64>
    ) throws(StorageError) -> (host: Int64, end: Int64) {
        var count = 1
        var end = firstCluster(of: range).upperBound
        while end < range.upperBound {
            let piece = firstCluster(of: end..<range.upperBound)
            if try ownPlace(piece) != nil { break }
            count += 1
            end = piece.upperBound
        }
        let clusters = try writer.allocateData(upTo: count)
        assert((1...count).contains(clusters.count), "other clusters than were asked for")
        var rest = range
        for number in 0..<clusters.count {
            let piece = firstCluster(of: rest)
            let host = clusters.offset + Int64(number) << Int64(geometry.clusterBits)
            do throws(StorageError) {
                try useNew(piece, host, clusters.isFresh)
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
        _ range: Range<Int64>, _ host: Int64, _ isFresh: Bool
    ) throws(StorageError) {
        let position = geometry.position(of: range.lowerBound)
        assert(pending(at: position) == nil, "a cluster would get a second place")
        let entry = try entry(at: position)
        // What was data has to be in the new cluster too; the other parts stay as they are.
        let kept = entry.state.parts?.allocated ?? .max
        let job = ClusterFill(position: position, host: host, isFresh: isFresh)
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
        let disk = bytes(of: job.position)
        assert(range.clamped(to: disk) == range, "bytes of several clusters in one")
        let isNew = old.state.parts?.host != job.host
        if range == disk {
            // Nobody sees what is behind the end of the disk, until the disk grows.
            let end = disk.lowerBound + geometry.clusterSize
            try fill(job, disk.upperBound..<end, old)
            tables[job.position.table].pending[job.position.index] = PendingCluster(
                host: job.host, isNew: isNew, missing: [range])
            return
        }
        try fill(job, parts: parts, old)
        let (_, allocated, zero) = old.state.parts ?? (nil, 0, 0)
        let now = allocated | parts
        let state = ClusterState(host: job.host, allocated: now, zero: zero & ~now)
        set(job.position, to: L2Entry(state, isCopied: true))
        if isNew { drop(old.state) }
    }
}
