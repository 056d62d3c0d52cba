internal import BlockStorage

/// Finds the clusters that nobody needs any more when bitmaps are gone.
///
/// To free a cluster that somebody else uses would cost data; to leave one allocated costs its
/// space until the image is checked. So only those are freed that a sound entry names, and that
/// nothing else is known to need.
struct BitmapReclaim {
    private let header: Header
    private let file: any ImageFile
    /// Numbers of clusters.
    private var dropped: [Int64] = []
    private var needed: [Range<Int64>] = []
    /// Whether all that was dropped is known.
    private(set) var isComplete = true

    init(_ header: Header, _ file: any ImageFile) {
        self.header = header
        self.file = file
        keep(offset: 0, clusters: 1)
        keep(
            offset: header.l1Offset, clusters: header.clusters(forEntries: header.l1EntryCount))
        keep(offset: header.refcountTableOffset, clusters: header.refcountTableClusters)
        if header.snapshotCount > 0 { keep(offset: header.snapshotsOffset, clusters: 1) }
    }

    mutating func keep(offset: Int64, clusters: Int) {
        if clusters > 0 { needed.append(header.clusters(at: offset, count: clusters)) }
    }

    mutating func keep(_ entries: [BitmapEntry]) throws(StorageError) {
        for entry in entries {
            for cluster in try clusters(of: entry) ?? [] { needed.append(cluster..<(cluster + 1)) }
        }
    }

    mutating func drop(_ entries: [BitmapEntry]) throws(StorageError) {
        for entry in entries {
            if let clusters = try clusters(of: entry) {
                dropped += clusters
            } else {
                isComplete = false
            }
        }
    }

    mutating func drop(_ directory: BitmapDirectory) {
        if directory.isStale { isComplete = false }
        guard directory.offset != 0 else { return }
        dropped += header.clusters(
            at: directory.offset, count: header.clusters(for: directory.byteCount))
    }

    /// The clusters of an entry's table and of its bits; nil if that can't be trusted.
    private func clusters(of entry: BitmapEntry) throws(StorageError) -> [Int64]? {
        guard entry.flaw == nil else { return nil }
        let table: BitmapTable
        do throws(StorageError) {
            table = try BitmapTable.read(of: entry, header, file)
        } catch .image {
            return nil
        } catch {
            throw error
        }
        var result = Array(
            header.clusters(
                at: Int64(entry.tableOffset),
                count: header.clusters(forEntries: Int(entry.tableEntryCount))))
        for value in table.entries {
            guard let offset = BitmapTable.cluster(value) else { continue }
            result.append(offset >> Int64(header.clusterBits))
        }
        return result
    }

    /// Frees what is free now.
    ///
    /// - Returns: whether that is all that was dropped.
    func free(_ writer: any MetadataWriter) throws(StorageError) -> Bool {
        let (clusters, isWhole) = separate()
        var index = 0
        while index < clusters.count {
            assert(clusters[index] > 0, "the header's cluster would be freed")
            var end = index + 1
            while end < clusters.count, clusters[end] == clusters[end - 1] + 1 { end += 1 }
            try writer.free(
                offset: clusters[index] << Int64(header.clusterBits), clusters: end - index)
            index = end
        }
        return isComplete && isWhole
    }

    /// The dropped clusters that were named once and are needed by nobody, in ascending order; and
    /// whether that is all of them.
    private func separate() -> (clusters: [Int64], isWhole: Bool) {
        let sorted = dropped.sorted()
        let ranges = needed.sorted { $0.lowerBound < $1.lowerBound }
        var result: [Int64] = []
        result.reserveCapacity(sorted.count)
        var next = 0
        var neededEnd: Int64 = 0
        for (index, cluster) in sorted.enumerated() {
            while next < ranges.count, ranges[next].lowerBound <= cluster {
                neededEnd = max(neededEnd, ranges[next].upperBound)
                next += 1
            }
            let isTwin =
                index > 0 && sorted[index - 1] == cluster
                || index + 1 < sorted.count && sorted[index + 1] == cluster
            if !isTwin && cluster >= neededEnd { result.append(cluster) }
        }
        return (result, result.count == sorted.count)
    }
}
