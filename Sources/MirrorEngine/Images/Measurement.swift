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
    /// The most that the file of a new target takes for that, if one job copies it without being
    /// interrupted: never too little. What the filesystem needs to keep a file is not counted.
    public let required: Int64
    /// The most that it takes when all of the disk has been written one day.
    public let fullyAllocated: Int64

    /// What no filesystem and no disk has larger blocks than, which are written as a whole.
    private static let block: Int64 = 4096

    /// Of a full mirror.
    ///
    /// - Parameters:
    ///   - target: the qcow2 image that the target would be; nil: raw.
    ///   - zeroes: what the mirror would do about zeros.
    public static func full(
        of disk: Disk, target: NewImageOptions? = nil, zeroes: ZeroHandling = .detect
    ) throws(MirrorError) -> Measurement {
        let size = disk.geometry.size
        var dirty = DirtyBitmap(size: size, granularity: Granularity(forSize: size))
        dirty.setAll()
        return try incremental(of: disk, dirty: dirty, target: target, zeroes: zeroes)
    }

    /// Of a top mirror of an image, down to `base` or of its top layer.
    public static func top(
        of disk: Disk, base: FilePath? = nil, target: NewImageOptions? = nil,
        zeroes: ZeroHandling = .detect
    ) throws(MirrorError) -> Measurement {
        try incremental(
            of: disk, dirty: try disk.topBits(above: base), target: target, zeroes: zeroes)
    }

    /// Of an incremental mirror.
    public static func incremental(
        of disk: Disk, dirty: borrowing DirtyBitmap, target: NewImageOptions? = nil,
        zeroes: ZeroHandling = .detect
    ) throws(MirrorError) -> Measurement {
        do throws(StorageError) {
            return try Measurement(disk, dirty, target, zeroes)
        } catch {
            throw .storage(error)
        }
    }

    private init(
        _ disk: Disk, _ dirty: borrowing DirtyBitmap, _ image: NewImageOptions?,
        _ zeroes: ZeroHandling
    ) throws(StorageError) {
        var target = image
        // As the image is going to be made.
        target?.size = Disk.wholeSectors(disk.geometry.size)
        try target?.validate(for: disk.path)
        size = disk.geometry.size
        let map = disk.sourceMap()
        // The job asks the source at the same places: what a short hole is depends on where the
        // question was.
        let unit = max(map.unit, Self.block, target?.clusterSize ?? 1)
        var tally = Tally(target, zeroes, size: size, block: Self.block)
        var extent = StorageExtent(range: 0..<0, content: .data)
        try dirty.forEachDirtyRun { (run) throws(StorageError) in
            var offset = run.lowerBound
            while offset < run.upperBound {
                if !extent.range.contains(offset) {
                    extent = try map.content(at: offset, unit: unit)
                }
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
            required = tally.clusters * Self.block
            fullyAllocated = (size + Self.block - 1) / Self.block * Self.block
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
    /// Clusters of the target that something is written to, and tables that point to them or to
    /// zeros. A raw target has its blocks for clusters.
    var clusters: Int64 = 0
    var tables: Int64 = 0
    private let size, block, clusterSize, coverage: Int64
    /// Zeros need an entry, because the target would read as something else.
    private let hasBacking: Bool
    private let writesZeros: Bool
    private var nextCluster: Int64 = 0
    private var nextTable: Int64 = 0

    init(_ target: NewImageOptions?, _ zeroes: ZeroHandling, size: Int64, block: Int64) {
        self.size = size
        self.block = block
        clusterSize = target?.clusterSize ?? block
        coverage = target?.l2Coverage ?? .max
        hasBacking = target?.backingFile != nil
        writesZeros = zeroes == .write
    }

    mutating func count(_ range: Range<Int64>, isZero: Bool) {
        if isZero { zeroBytes += Int64(range.count) } else { dataBytes += Int64(range.count) }
        guard isZero && !writesZeros else { return place(range) }
        guard hasBacking else { return }
        // A cluster of which only a part becomes zeros is written.
        let first = min((range.lowerBound + clusterSize - 1) / clusterSize * clusterSize, size)
        let last = range.upperBound == size ? size : range.upperBound / clusterSize * clusterSize
        if range.lowerBound < first { place(range.lowerBound..<min(first, range.upperBound)) }
        pointTo(range)
        if max(last, first) < range.upperBound { place(last..<range.upperBound) }
    }

    /// Counts what is written as data, in whole blocks.
    private mutating func place(_ range: Range<Int64>) {
        let end = (range.upperBound + block - 1) / block * block
        let range = (range.lowerBound / block * block)..<min(end, size)
        let first = max(range.lowerBound / clusterSize, nextCluster)
        nextCluster = max(nextCluster, (range.upperBound - 1) / clusterSize + 1)
        clusters += max(nextCluster - first, 0)
        pointTo(range)
    }

    private mutating func pointTo(_ range: Range<Int64>) {
        let first = max(range.lowerBound / coverage, nextTable)
        nextTable = max(nextTable, (range.upperBound - 1) / coverage + 1)
        tables += max(nextTable - first, 0)
    }
}
