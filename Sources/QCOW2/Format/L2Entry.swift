/// Why an entry of a table can't be true: a clause without a full stop.
package struct EntryProblem: Error, Equatable {
    package let what: String
    package init(_ what: String) { self.what = what }
}

/// An entry of an L2 table.
package struct L2Entry: Sendable, Equatable {
    package var state: ClusterState
    /// Nobody else refers to the cluster: it may be written in place.
    package var isCopied: Bool

    package init(_ state: ClusterState, isCopied: Bool = false) {
        self.state = state
        self.isCopied = isCopied
    }

    /// Decodes an entry; `bitmap` is the second word that it has if there are subclusters.
    package init(
        _ word: UInt64, bitmap: UInt64 = 0, _ geometry: TableGeometry
    ) throws(EntryProblem) {
        isCopied = word & EntryBits.copied != 0
        if word & EntryBits.compressed != 0 {
            guard !isCopied else {
                throw EntryProblem("a compressed cluster is marked as one to write in place")
            }
            guard bitmap == 0 else { throw EntryProblem("a compressed cluster has subclusters") }
            state = try Self.compressed(word, geometry)
            return
        }
        let isZero = word & EntryBits.zero != 0
        let known = EntryBits.copied | EntryBits.zero | EntryBits.offset
        guard word & ~known == 0 else { throw EntryProblem("reserved bits are set in an L2 entry") }
        let offset = word & EntryBits.offset
        guard offset & geometry.misaligned == 0 else {
            throw EntryProblem(
                "a cluster can't be at \(offset): that is not a multiple of its size")
        }
        // In a data file a cluster may be at 0; in an image, that is where the header is.
        let hasHost = offset != 0 || (geometry.hasDataFile && isCopied)
        guard hasHost || !isCopied else {
            throw EntryProblem("a cluster that is not there is marked as one to write in place")
        }
        let host = hasHost ? Int64(offset) : nil
        if geometry.hasSubclusters {
            guard !isZero else { throw EntryProblem("reserved bits are set in an L2 entry") }
            state = try Self.subclusters(host: host, bitmap)
        } else if isZero {
            guard geometry.knowsZeroClusters else {
                throw EntryProblem("there is a zero cluster, which version 2 does not know")
            }
            state = .zero(host: host)
        } else {
            state = host.map { .data(host: $0) } ?? .unallocated
        }
    }

    private static func compressed(
        _ word: UInt64, _ geometry: TableGeometry
    ) throws(EntryProblem) -> ClusterState {
        guard !geometry.hasDataFile else {
            throw EntryProblem("there is a compressed cluster, which a data file can't have")
        }
        let shift = UInt64(compressedOffsetBits(geometry))
        let offset = word & (1 << shift - 1)
        guard offset < EntryBits.offsetLimit else {
            throw EntryProblem("a compressed cluster can't be at \(offset)")
        }
        let sectors = (word & ~EntryBits.compressed) >> shift
        return .compressed(
            offset: Int64(offset), length: Int(sectors + 1) * 512 - Int(offset % 512))
    }

    private static func subclusters(
        host: Int64?, _ bitmap: UInt64
    ) throws(EntryProblem) -> ClusterState {
        let allocated = UInt32(truncatingIfNeeded: bitmap)
        let zero = UInt32(truncatingIfNeeded: bitmap >> 32)
        guard allocated & zero == 0 else {
            throw EntryProblem("a subcluster is both data and zero")
        }
        guard host != nil || allocated == 0 else {
            throw EntryProblem("subclusters have data and their cluster has no place")
        }
        if allocated == .max, let host { return .data(host: host) }
        if zero == .max { return .zero(host: host) }
        if bitmap == 0, host == nil { return .unallocated }
        return .subclusters(host: host, allocated: allocated, zero: zero)
    }

    /// Offsets of compressed clusters have so many bits; the bits above them count sectors.
    private static func compressedOffsetBits(_ geometry: TableGeometry) -> Int {
        62 - (geometry.clusterBits - 8)
    }

    /// The words of the entry; the second is there only if there are subclusters.
    ///
    /// Precondition: the state is one that decoding could give.
    package func encoded(_ geometry: TableGeometry) -> (word: UInt64, bitmap: UInt64) {
        let all: UInt64 = 0xffff_ffff
        let flags = isCopied ? EntryBits.copied : 0
        switch state {
        case .unallocated:
            return (0, 0)
        case .data(let host):
            return (flags | UInt64(host), geometry.hasSubclusters ? all : 0)
        case .zero(let host):
            let offset = host.map { flags | UInt64($0) } ?? 0
            return geometry.hasSubclusters
                ? (offset, all << 32) : (offset | EntryBits.zero, 0)
        case .subclusters(let host, let allocated, let zero):
            precondition(geometry.hasSubclusters, "the image has no subclusters")
            let offset = host.map { flags | UInt64($0) } ?? 0
            return (offset, UInt64(zero) << 32 | UInt64(allocated))
        case .compressed(let offset, let length):
            let sectors = UInt64(Int(offset % 512) + length - 1) / 512
            let shift = UInt64(Self.compressedOffsetBits(geometry))
            return (EntryBits.compressed | sectors << shift | UInt64(offset), 0)
        }
    }
}

extension L2Entry {
    /// Decodes the entry at `index` of a table, counted in entries and not in words.
    init(
        _ words: Span<UInt64>, _ index: Int, _ geometry: TableGeometry
    ) throws(EntryProblem) {
        let first = index * geometry.wordsPerEntry
        try self.init(
            words[first], bitmap: geometry.hasSubclusters ? words[first + 1] : 0, geometry)
    }
}
