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
            let range = try state.refcounts.allocate(upTo: count, &state.header)
            let bits = Int64(state.header.clusterBits)
            try Self.stretch(&state, to: range.upperBound << bits)
            return DataClusters(
                offset: range.lowerBound << bits, count: range.count,
                isFresh: range.lowerBound >= fresh)
        }
    }

    /// Takes one cluster for a table.
    func allocateTable() throws(StorageError) -> Int64 {
        try state.withLock { (state) throws(StorageError) in
            let range = try state.refcounts.allocate(exactly: 1, &state.header)
            state.refcounts.occupied.insert(range.lowerBound)
            return range.lowerBound << Int64(state.header.clusterBits)
        }
    }

    /// Takes one reference from clusters to which nothing on stable storage refers.
    func release(offset: Int64, clusters: Int) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            let first = offset >> Int64(state.header.clusterBits)
            try state.refcounts.release(first..<(first + Int64(clusters)))
        }
    }

    /// The same for a table.
    func releaseTable(offset: Int64) throws(StorageError) {
        try release(offset: offset, clusters: 1)
        state.withLock { $0.refcounts.vacate(offset: offset, clusters: 1) }
    }

    /// Whether a cluster can be written without harm to a table.
    func checkData(offset: Int64) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            let cluster = offset >> Int64(state.header.clusterBits)
            try state.refcounts.checkUsed(cluster)
            try Self.learnLength(&state)
            guard offset < state.length else {
                throw .damaged(file.path, at: offset, "a cluster of data is not in the file")
            }
            try Self.stretch(&state, to: offset + state.header.clusterSize)
        }
    }

    /// Writes the refcounts. They last after the next sync.
    ///
    /// - Returns: whether there was anything to write.
    @discardableResult
    func flushRefcounts() throws(StorageError) -> Bool {
        try state.withLock { (state) throws(StorageError) in try state.refcounts.flush() }
    }

    /// Cuts off what the file has grown ahead. It is never made shorter than `floor`.
    func truncate(floor: Int64) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            let length = try file.length()
            let end = try state.refcounts.usedEnd(from: length, floor: min(floor, length))
            if end < length {
                try file.resize(to: end)
                state.length = end
                state.refcounts.freshFrom = min(
                    state.refcounts.freshFrom, end >> Int64(state.header.clusterBits))
            }
        }
    }

    private static func learnLength(_ state: inout WriterState) throws(StorageError) {
        if state.length == 0 { state.length = try state.file.length() }
    }

    private static func stretch(_ state: inout WriterState, to end: Int64) throws(StorageError) {
        try learnLength(&state)
        guard end > state.length else { return }
        let length = try state.file.length()
        guard end > length else {
            state.length = length
            return
        }
        let ahead = (end + state.growth - 1) / state.growth * state.growth
        do throws(StorageError) {
            try state.file.resize(to: ahead)
            state.length = ahead
        } catch {
            // What is asked for may still be within the limit.
            try state.file.resize(to: end)
            state.length = end
        }
    }
}
