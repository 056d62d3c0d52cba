package import BlockStorage
package import DirtyBitmap
internal import Synchronization
public import SystemPackage

/// One file of a chain: a raw disk or image, or a qcow2 image without what is below it.
///
/// The tables that lead to the others are read and checked when it is made; those of clusters are
/// read when they are needed. Any thread may ask.
public final class Layer: Sendable {
    /// The file, as it was named.
    public let path: FilePath
    /// How its bytes lie in the file.
    public let format: ImageFormat
    /// Bytes of the disk as this layer has it.
    public let size: Int64
    /// The snapshots inside the image.
    public let snapshots: [ImageSnapshot]

    /// Nil for a raw layer.
    package let header: Header?
    package let file: any ImageFile
    /// Nil only if the layer was made over a file that is no device's.
    package let device: StorageDevice?
    /// The file of an image that keeps its data apart.
    package let dataFile: (any ImageFile)?
    package let dataDevice: StorageDevice?

    let clusters: ClusterMap?
    /// What is in the file and can't hold data.
    let metadata: [MetadataRegion]
    /// Bytes of the file that has the data, when somebody last looked: it may grow.
    private let knownLength: Atomic<Int64>
    /// A stretch of a raw file that was found to be data. What was a hole is asked for again:
    /// somebody may have written there.
    private let knownData = Mutex<Range<Int64>>(0..<0)

    /// A raw layer.
    package init(raw file: any ImageFile, device: StorageDevice? = nil) throws(StorageError) {
        path = file.path
        format = .raw
        if let device { size = device.geometry.size } else { size = try file.length() }
        snapshots = []
        header = nil
        self.file = file
        self.device = device
        dataFile = nil
        dataDevice = nil
        clusters = nil
        metadata = []
        knownLength = Atomic(size)
    }

    /// A layer of the image that has this header.
    ///
    /// - Parameter tableCacheBytes: how much of its tables is kept in memory.
    package init(
        _ header: Header, file: any ImageFile, device: StorageDevice? = nil,
        dataFile: (any ImageFile)? = nil, dataDevice: StorageDevice? = nil,
        tableCacheBytes: Int = 32 << 20
    ) throws(StorageError) {
        path = file.path
        format = .qcow2
        size = header.size
        self.header = header
        self.file = file
        self.device = device
        self.dataFile = dataFile
        self.dataDevice = dataDevice
        let tables = try LayerTables(header, file: file)
        snapshots = tables.snapshots
        metadata = tables.regions
        clusters = ClusterMap(
            geometry: TableGeometry(header), tables: tables.l2Offsets,
            cache: TableCache(
                file: file, tableBytes: Int(header.clusterSize), bytes: tableCacheBytes),
            path: file.path)
        knownLength = Atomic(try (dataFile ?? file).length())
    }

    /// The file that stored and compressed extents are in.
    package var dataSource: any ImageFile { dataFile ?? file }
    package var dataSourceDevice: StorageDevice? { dataFile == nil ? device : dataDevice }

    /// The smallest piece that can be somewhere else than its neighbours; 1 for a raw layer.
    package var pieceSize: Int64 { clusters?.geometry.pieceSize ?? 1 }
    /// Bytes of a cluster; nil for a raw layer.
    public var clusterBytes: Int64? { header?.clusterSize }
    package var canHaveCompressedClusters: Bool { clusters != nil && dataFile == nil }

    /// The longest stretch of one kind that begins at `offset`, up to `limit`, or less if that
    /// would be much work.
    ///
    /// Precondition: `0 <= offset < min(limit, size)`.
    package func extent(at offset: Int64, limit: Int64) throws(StorageError) -> LayerExtent {
        precondition(offset >= 0 && offset < limit && offset < size, "offset outside the layer")
        let limit = min(limit, size)
        guard let clusters else { return try rawExtent(at: offset, limit: limit) }
        let extent = try clusters.extent(at: offset, limit: limit)
        switch extent.content {
        case .unallocated, .zero:
            return extent
        case .stored(let host):
            return try checked(host: host, length: extent.length, at: offset, clusters.geometry)
        case .compressed(let host, _, _):
            guard try contains(host) else { throw outside("a compressed cluster", host) }
            try check(host..<(host + 1), "a compressed cluster")
            return extent
        }
    }

    private func rawExtent(at offset: Int64, limit: Int64) throws(StorageError) -> LayerExtent {
        let known = knownData.withLock { $0 }
        var content = LayerExtent.Content.stored(host: offset)
        if known.contains(offset) || device == nil {
            let end = device == nil ? limit : min(limit, known.upperBound)
            return LayerExtent(content: content, length: end - offset)
        }
        guard let device else { preconditionFailure("it was there a line ago") }
        let found = try device.extent(at: offset)
        switch found.content {
        case .data: knownData.withLock { $0 = found.range }
        case .zero: content = .zero
        }
        return LayerExtent(
            content: content, length: min(limit, found.range.upperBound) - offset)
    }

    /// Data that was said to be at `host`, as far as it is there. The last cluster of a file need
    /// not be whole; what is missing of it reads as zeros, as QEMU has it. A cluster that is
    /// missing as a whole is a file that was cut off.
    private func checked(
        host: Int64, length: Int64, at offset: Int64, _ geometry: TableGeometry
    ) throws(StorageError) -> LayerExtent {
        if dataFile == nil {
            try check(host..<(host + length), "a cluster of data")
        } else if host != offset {
            throw malformed("in a data file, the cluster for \(offset) can't be at \(host)")
        }
        var end = knownLength.load(ordering: .relaxed)
        if host + length > end {
            end = try dataSource.length()
            knownLength.store(end, ordering: .relaxed)
        }
        if host + length <= end {
            return LayerExtent(content: .stored(host: host), length: length)
        }
        if host < end { return LayerExtent(content: .stored(host: host), length: end - host) }
        let cluster = host.roundedDown(to: geometry.clusterSize)
        guard cluster < end else { throw outside("a cluster of data", host) }
        return LayerExtent(
            content: .zero, length: min(length, cluster + geometry.clusterSize - host))
    }

    private func contains(_ host: Int64) throws(StorageError) -> Bool {
        if host < knownLength.load(ordering: .relaxed) { return true }
        let length = try dataSource.length()
        knownLength.store(length, ordering: .relaxed)
        return host < length
    }

    private func check(_ range: Range<Int64>, _ what: String) throws(StorageError) {
        for region in metadata where region.range.overlaps(range) {
            throw malformed("\(what) at \(range.lowerBound) lies over the \(region.what)")
        }
    }

    private func outside(_ what: String, _ host: Int64) -> StorageError {
        .image(
            ImageProblem(
                .malformed, dataSource.path, at: host, "\(what) should be there, and the file ends",
                remedy: "The file was cut off, or copied only in part."))
    }

    private func malformed(_ what: String) -> StorageError {
        .image(ImageProblem(.malformed, path, what))
    }
}

// MARK: All of a layer

extension Layer {
    /// The finest granularity at which the layer allocates, as bitmaps can have it.
    package var granularity: Granularity {
        // A power of two from 512 to 2 MiB, all of which are possible.
        do { return try Granularity(bytes: max(pieceSize, 512)) } catch { return .default }
    }

    /// Whether it has anything itself. Complexity: ends at the first.
    package func hasContent() throws(StorageError) -> Bool {
        var offset: Int64 = 0
        while offset < size {
            let extent = try extent(at: offset, limit: size)
            if extent.content != .unallocated { return true }
            offset += extent.length
        }
        return false
    }

    /// Passes the whole layer, stretch by stretch.
    func forEachExtent(
        upTo limit: Int64,
        _ body: (Range<Int64>, LayerExtent.Content) -> Void
    ) throws(StorageError) {
        var offset: Int64 = 0
        while offset < limit {
            let extent = try extent(at: offset, limit: limit)
            body(offset..<(offset + extent.length), extent.content)
            offset += extent.length
        }
    }
}

// MARK: Compressed clusters

extension Layer {
    /// A cluster that is compressed at `host`.
    package func decompress(
        at host: Int64, _ compressedLength: Int, with decompressor: Decompressor
    ) throws(StorageError) -> [UInt8] {
        guard let header else { preconditionFailure("a raw layer has no compressed clusters") }
        let compressed = try file.read(at: host, count: compressedLength)
        let cluster = decompressor.decompress(
            compressed, header.compression, length: Int(header.clusterSize))
        guard let cluster else {
            throw .image(
                ImageProblem(
                    .malformed, path, at: host, "a compressed cluster can't be decompressed"))
        }
        return cluster
    }
}
