/// What the tables say about one cluster of the disk.
package enum ClusterState: Sendable, Equatable {
    /// The layer below decides what it reads as.
    case unallocated
    /// Reads as zeros; `host` is a cluster that is kept for it.
    case zero(host: Int64?)
    case data(host: Int64)
    /// `length` bytes at most, at any offset; where it ends exactly only the compressed bytes tell.
    case compressed(offset: Int64, length: Int)
    /// The 32 parts of the cluster are not all alike, or a cluster is kept for parts none of which
    /// is there. Part `n` is bit `n` of either set; what is in neither is unallocated.
    case subclusters(host: Int64?, allocated: UInt32, zero: UInt32)
}

extension ClusterState {
    /// The state of a cluster whose parts are in these sets; where all parts are alike, the state
    /// that has a name for that.
    ///
    /// Precondition: no part is in both sets, and there are data only where there is a cluster.
    init(host: Int64?, allocated: UInt32, zero: UInt32) {
        assert(allocated & zero == 0, "a part can't be data and zeros")
        assert(host != nil || allocated == 0, "there is no cluster for the data")
        if allocated == .max, let host {
            self = .data(host: host)
        } else if zero == .max {
            self = .zero(host: host)
        } else if host == nil, allocated | zero == 0 {
            self = .unallocated
        } else {
            self = .subclusters(host: host, allocated: allocated, zero: zero)
        }
    }

    /// Which of the 32 parts of a cluster have data, and which are zero; nil if it is compressed.
    var parts: (host: Int64?, allocated: UInt32, zero: UInt32)? {
        switch self {
        case .unallocated: (nil, 0, 0)
        case .zero(let host): (host, 0, .max)
        case .data(let host): (host, .max, 0)
        case .subclusters(let host, let allocated, let zero): (host, allocated, zero)
        case .compressed: nil
        }
    }
}
