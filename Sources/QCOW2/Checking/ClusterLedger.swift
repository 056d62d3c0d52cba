internal import BlockStorage
internal import DirtyBitmap

/// The refcounts of an image, less the references that have been found so far.
///
/// A count is taken down by each reference. One that would go below zero belongs to a cluster that
/// is in use more often than it is counted: a writer would hand it out, or write it in place, while
/// something else depends on it. What is left over at the end are leaks, which harm nobody.
///
/// Memory: the blocks of refcounts that count anything in use, and two bits for each cluster that
/// they count. That is proportional to the tables, whatever the size of the disk or of the file.
struct ClusterLedger {
    /// Why a reference can't be true.
    enum Contradiction: Equatable {
        /// The cluster is in use more often than it is counted.
        case countTooLow
        /// A table is there.
        case overTable
        /// The entry says that nothing else uses the cluster, and something may.
        case notExclusive
    }

    private let file: any ImageFile
    private let order: Int
    private let clusterSize: Int64
    private let perBlockBits: Int64
    /// Where the blocks are, in bytes; 0 where there is none.
    private let table: [Int64]
    /// The page of each block, once it has been read; -1 before.
    private var pageIndices: [Int32]
    private var pages: [Page] = []

    init(_ refcounts: Refcounts) {
        file = refcounts.file
        order = refcounts.order
        clusterSize = refcounts.clusterSize
        perBlockBits = Int64(refcounts.perBlock.trailingZeroBitCount)
        table = refcounts.table
        pageIndices = [Int32](repeating: -1, count: table.count)
    }

    /// Takes the cluster of a table out of the count. Nothing else may be there.
    ///
    /// - Parameters:
    ///   - times: how many references lead to the table.
    ///   - isExclusive: whether one of them says that there is no other.
    mutating func claim(
        _ cluster: Int64, times: UInt64 = 1, isExclusive: Bool = false
    ) throws(StorageError) -> Contradiction? {
        guard let page = try page(of: cluster) else { return .countTooLow }
        return pages[page].claim(position(of: cluster), times: times, isExclusive: isExclusive)
    }

    /// Takes references of a cluster with data out of the count. All tables have to be claimed
    /// before.
    mutating func refer(
        to cluster: Int64, times: UInt64, isExclusive: Bool
    ) throws(StorageError) -> Contradiction? {
        guard let page = try page(of: cluster) else { return .countTooLow }
        return pages[page].refer(position(of: cluster), times: times, isExclusive: isExclusive)
    }

    private func position(of cluster: Int64) -> Int {
        Int(cluster & (1 &<< perBlockBits &- 1))
    }

    /// Nil if nothing counts the cluster.
    private mutating func page(of cluster: Int64) throws(StorageError) -> Int? {
        let index = Int(cluster >> perBlockBits)
        guard index < table.count else { return nil }
        if pageIndices[index] >= 0 { return Int(pageIndices[index]) }
        guard table[index] != 0 else { return nil }
        let bytes = try file.readFilled(at: table[index], count: Int(clusterSize))
        pages.append(Page(RefcountBlock(bytes: bytes, order: order)))
        pageIndices[index] = Int32(pages.count - 1)
        return pages.count - 1
    }
}

/// The clusters that one block counts.
private struct Page {
    private var counts: RefcountBlock
    /// Clusters to which a reference has been found.
    private var found: [UInt64]
    /// Clusters of tables.
    private var tables: [UInt64]

    init(_ counts: RefcountBlock) {
        self.counts = counts
        found = [UInt64](repeating: 0, count: counts.count.dividedRoundingUp(by: 64))
        tables = found
    }

    mutating func claim(
        _ position: Int, times: UInt64, isExclusive: Bool
    ) -> ClusterLedger.Contradiction? {
        assert(times > 0, "a table to which nothing leads was claimed")
        let (word, bit) = (position >> 6, UInt64(1) << UInt64(position & 63))
        guard found[word] & bit == 0 else { return .overTable }
        tables[word] |= bit
        return take(position, times: times, isExclusive: isExclusive)
    }

    mutating func refer(
        _ position: Int, times: UInt64, isExclusive: Bool
    ) -> ClusterLedger.Contradiction? {
        let (word, bit) = (position >> 6, UInt64(1) << UInt64(position & 63))
        guard tables[word] & bit == 0 else { return .overTable }
        return take(position, times: times, isExclusive: isExclusive)
    }

    private mutating func take(
        _ position: Int, times: UInt64, isExclusive: Bool
    ) -> ClusterLedger.Contradiction? {
        let (word, bit) = (position >> 6, UInt64(1) << UInt64(position & 63))
        let count = counts[position]
        guard count >= times else { return .countTooLow }
        // What was found before has taken its part out of the count.
        guard !isExclusive || (count == 1 && found[word] & bit == 0) else { return .notExclusive }
        found[word] |= bit
        counts[position] = count - times
        return nil
    }
}
