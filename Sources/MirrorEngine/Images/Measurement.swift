internal import BlockStorage
public import DirtyBitmap
public import QCOW2
public import SystemPackage

/// What a mirror would move, and what a new target of it would need. All in bytes.
///
/// Only where things are is looked at, never what they are: zeros that are stored as data count as
/// data.
public struct Measurement: Sendable, Equatable {
    /// The disk.
    public let size: Int64
    /// What the mirror makes identical.
    public let planned: Int64
    /// What of it is read and written.
    public let dataBytes: Int64
    /// What of it reads as zeros without being read.
    public let zeroBytes: Int64
    /// The most that the file of a new target takes for that: never too little.
    public let required: Int64
    /// The most that it takes when all of the disk has been written one day.
    public let fullyAllocated: Int64

    /// Of a full mirror.
    ///
    /// - Parameter target: the qcow2 image that the target would be; nil: raw.
    public static func full(
        of disk: Disk, target: NewImageOptions? = nil
    ) throws(MirrorError) -> Measurement {
        let size = disk.geometry.size
        var dirty = DirtyBitmap(size: size, granularity: Granularity(forSize: size))
        dirty.setAll()
        return try incremental(of: disk, dirty: dirty, target: target)
    }

    /// Of a top mirror of an image, down to `base` or of its top layer.
    public static func top(
        of disk: Disk, base: FilePath? = nil, target: NewImageOptions? = nil
    ) throws(MirrorError) -> Measurement {
        try incremental(of: disk, dirty: try disk.topBits(above: base), target: target)
    }

    /// Of an incremental mirror.
    public static func incremental(
        of disk: Disk, dirty: borrowing DirtyBitmap, target: NewImageOptions? = nil
    ) throws(MirrorError) -> Measurement {
        do throws(StorageError) {
            return try Measurement(disk, dirty, target)
        } catch {
            throw .storage(error)
        }
    }

    private init(
        _ disk: Disk, _ dirty: borrowing DirtyBitmap, _ target: NewImageOptions?
    ) throws(StorageError) {
        try target?.validate(for: disk.path)
        size = disk.geometry.size
        let map = disk.sourceMap()
        var tally = Tally(target, size: size)
        try dirty.forEachDirtyRun { (run) throws(StorageError) in
            var offset = run.lowerBound
            while offset < run.upperBound {
                let extent = try map.content(at: offset)
                let end = min(extent.range.upperBound, run.upperBound)
                tally.count(offset..<end, isZero: extent.content == .zero)
                offset = end
            }
        }
        planned = dirty.dirtyBytes
        dataBytes = tally.dataBytes
        zeroBytes = tally.zeroBytes
        guard let target else {
            // Holes of a new raw image need no space, and its end is where the disk's is.
            required = tally.dataBytes
            fullyAllocated = size
            return
        }
        fullyAllocated = target.fullBytesMax
        required =
            target.preallocatesMetadata
            ? fullyAllocated
            : target.fileBytesMax(clusters: tally.clusters, l2Tables: tally.tables)
    }
}

/// Adds up ranges that come in ascending order.
private struct Tally {
    var dataBytes: Int64 = 0
    var zeroBytes: Int64 = 0
    /// Clusters of the target that hold data, and tables that point to them or to zeros.
    var clusters: Int64 = 0
    var tables: Int64 = 0
    private let clusterSize, coverage: Int64
    /// Zeros need an entry, because the target would read as something else.
    private let hasBacking: Bool
    private var nextCluster: Int64 = 0
    private var nextTable: Int64 = 0

    init(_ target: NewImageOptions?, size: Int64) {
        clusterSize = target?.clusterSize ?? 65536
        coverage = target?.l2Coverage ?? 512 << 20
        hasBacking = target?.backingFile != nil
    }

    mutating func count(_ range: Range<Int64>, isZero: Bool) {
        if isZero {
            zeroBytes += Int64(range.count)
            if !hasBacking { return }
        } else {
            dataBytes += Int64(range.count)
            let first = max(range.lowerBound / clusterSize, nextCluster)
            nextCluster = max(nextCluster, (range.upperBound - 1) / clusterSize + 1)
            clusters += max(nextCluster - first, 0)
        }
        let first = max(range.lowerBound / coverage, nextTable)
        nextTable = max(nextTable, (range.upperBound - 1) / coverage + 1)
        tables += max(nextTable - first, 0)
    }
}
