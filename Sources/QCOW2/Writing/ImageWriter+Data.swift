internal import BlockStorage
internal import Synchronization

/// What the map of a target asks of the writer of its image. Nothing here waits for the disk,
/// unless the refcounts have to grow.
extension ImageWriter {
    /// Clusters for data, side by side.
    struct DataClusters {
        let offset: Int64
        let count: Int
        /// Whether they read as zeros.
        let isFresh: Bool
    }

    /// Takes up to `count` clusters, and makes the file long enough for them.
    func allocateData(upTo count: Int) throws(StorageError) -> DataClusters {
        try state.withLock { (state) throws(StorageError) in
            let fresh = state.refcounts.freshFrom
            let range = try state.refcounts.allocate(
                upTo: count, &state.header, step: state.growth)
            let bits = Int64(state.header.clusterBits)
            return DataClusters(
                offset: range.lowerBound << bits, count: range.count,
                isFresh: range.lowerBound >= fresh)
        }
    }

    /// Takes one cluster for a table, and writes zeros there: when the table is written, it needs
    /// no space that somebody else may have taken.
    func allocateTable() throws(StorageError) -> Int64 {
        try state.withLock { (state) throws(StorageError) in
            let range = try state.refcounts.allocate(exactly: 1, &state.header)
            let offset = range.lowerBound << Int64(state.header.clusterBits)
            do throws(StorageError) {
                try file.write(
                    [UInt8](repeating: 0, count: Int(state.header.clusterSize)), at: offset)
            } catch {
                try state.refcounts.release(range)
                throw error
            }
            state.refcounts.occupied.insert(range.lowerBound)
            return offset
        }
    }

    /// Takes one reference from clusters to which nothing on stable storage refers.
    func release(offset: Int64, clusters: Int) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.refcounts.release(state.header.clusters(at: offset, count: clusters))
        }
    }

    /// The same for a table.
    func releaseTable(offset: Int64) throws(StorageError) {
        try release(offset: offset, clusters: 1)
        state.withLock { $0.refcounts.vacate(offset: offset, clusters: 1) }
    }

    /// Throws if a cluster can't be written without harm to a table, and makes the file long enough
    /// for it.
    func checkData(offset: Int64) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            let cluster = offset >> Int64(state.header.clusterBits)
            try state.refcounts.checkUsed(cluster)
            if state.refcounts.length == 0 { state.refcounts.length = try file.length() }
            guard offset < state.refcounts.length else {
                throw .damaged(file.path, at: offset, "a cluster of data is not in the file")
            }
            try state.refcounts.reach(
                offset + state.header.clusterSize, step: state.growth)
        }
    }

    /// Writes the refcounts. They last after the next sync. Clusters can be taken meanwhile.
    func flushRefcounts() throws(StorageError) {
        try Refcounts.flush(file) { (step) throws(StorageError) in
            try state.withLock { (state) throws(StorageError) in try step(&state.refcounts) }
        }
    }

    /// Cuts off what the file has grown ahead. It is never made shorter than `floor`.
    func truncate(floor: Int64) throws(StorageError) {
        guard !file.isDisk else { return }
        try state.withLock { (state) throws(StorageError) in
            let length = try state.refcounts.lengthNow()
            let end = try state.refcounts.usedEnd(from: length, floor: min(floor, length))
            if end < length {
                try file.resize(to: end)
                state.refcounts.length = end
                state.refcounts.freshFrom = min(
                    state.refcounts.freshFrom, end >> Int64(state.header.clusterBits))
            }
        }
    }
}
