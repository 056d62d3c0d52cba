internal import BlockStorage
internal import SystemPackage

/// The tables of an image by which everything else is found, read whole and checked: each must lie
/// inside the file, and none over another.
struct LayerTables {
    /// Offsets of the L2 tables; 0 where there is none.
    var l2Offsets: [UInt64] = []
    var snapshots: [ImageSnapshot] = []
    private(set) var regions: [MetadataRegion] = []

    private let path: FilePath
    private let fileLength: Int64

    init(_ header: Header, file: any ImageFile) throws(StorageError) {
        path = file.path
        fileLength = try file.length()
        try add(0..<header.clusterSize, "header", mayExceed: true)
        // The table is as long as its clusters, whatever of the last one the file has.
        let refcounts = header.refcountTableOffset
        try add(
            refcounts..<(refcounts + Int64(header.refcountTableClusters) * header.clusterSize),
            "refcount table", mayExceed: true)
        try add(
            header.l1Offset..<(header.l1Offset + Int64(header.l1EntryCount) * 8), "L1 table")
        if header.snapshotCount > 0 {
            let table = try SnapshotTable(header, in: file)
            snapshots = table.snapshots
            let start = header.snapshotsOffset
            // Its entries were read; what pads the last one to eight bytes may be missing.
            try add(start..<(start + table.length), "snapshot table", mayExceed: true)
        }
        try readL1(header, file)
    }

    private mutating func add(
        _ range: Range<Int64>, _ what: String, mayExceed: Bool = false
    ) throws(StorageError) {
        guard !range.isEmpty else { return }
        guard range.lowerBound < fileLength, mayExceed || range.upperBound <= fileLength else {
            throw malformed(range.lowerBound, "the \(what) lies outside the file")
        }
        for region in regions where region.range.overlaps(range) {
            throw malformed(range.lowerBound, "the \(what) lies over the \(region.what)")
        }
        regions.append(MetadataRegion(range: range, what: what))
    }

    private mutating func readL1(
        _ header: Header, _ file: any ImageFile
    ) throws(StorageError) {
        let entries = try L1Table.read(
            of: header, in: file, strictness: .reading(apartFrom: regions))
        l2Offsets = entries.map { UInt64($0.offset) }
        let present = entries.count { $0 != .none }
        // No table serves two parts of the disk: a file has no room for more than it has clusters.
        guard present <= fileLength / header.clusterSize else {
            throw malformed(header.l1Offset, "several L1 entries lead to the same L2 table")
        }
    }

    private func malformed(_ offset: Int64, _ what: String) -> StorageError {
        .image(ImageProblem(.malformed, path, at: offset, what))
    }
}
