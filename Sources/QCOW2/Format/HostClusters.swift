/// Clusters of the file, side by side, to which an entry of an L2 table refers.
struct HostClusters: Sendable {
    let offset: Int64
    let count: Int

    init(offset: Int64, count: Int) {
        self.offset = offset
        self.count = count
    }

    /// What an entry refers to; nil if it is nothing.
    init?(_ state: ClusterState, _ geometry: TableGeometry) {
        let bits = Int64(geometry.clusterBits)
        if case .compressed(let start, let length) = state {
            let first = start >> bits
            let last = (start + Int64(length) - 1) >> bits
            offset = first << bits
            count = Int(last - first) + 1
        } else {
            guard let host = state.parts?.host else { return nil }
            offset = host
            count = 1
        }
    }
}
