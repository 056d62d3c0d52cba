public import BlockStorage
public import QCOW2
public import SystemPackage

/// One side of a mirror, in whatever form it is kept: a raw disk or image, or an image of a format
/// that says where the disk's bytes live.
///
/// It keeps open all files that it consists of. Nothing in it changes: it can be shared between
/// threads freely, and be a side of several jobs, one after another.
public final class Disk: Sendable {
    /// As the user gave it.
    public let path: FilePath
    /// Whether it may be written.
    public let access: Access
    /// Sizes and limits. The size is the disk's; a file in a format may be larger or smaller.
    public let geometry: Geometry
    /// Which disk or image it is.
    public let identity: DeviceIdentity
    /// Whether its bytes go around the page cache.
    public let caching: Caching
    /// What is worth knowing about this opening, in sentences. Nothing is wrong.
    public let notes: [String]
    /// What makes a copy from or to it weaker than one may expect, in sentences.
    public let warnings: [String]
    /// How the disk is kept: `raw`, `qcow2`.
    public let format: String

    /// The bitmaps inside the image, if its format keeps them. They can be changed only if it was
    /// opened for that.
    public let bitmaps: ImageBitmaps?

    /// Whether it was made by this process, and has nothing but what it stands on.
    let isNewOverlay: Bool

    /// Whether all that is written to it is what it reads as already: who keeps bitmaps of it need
    /// not hear of that.
    package let keepsContent: Bool

    /// The path with links resolved.
    package let resolvedPath: String
    /// The image and what is below it; nil for a raw disk.
    public let image: ImageChain?
    /// All files that it consists of, the one at `path` first.
    package let devices: [StorageDevice]
    private let makeSourceMap: @Sendable (_ size: Int64?) -> any SourceMap
    private let makeTargetMap: TargetMaker?

    /// Makes a map of the first `size` bytes for writing.
    package typealias TargetMaker =
        @Sendable (
            _ size: Int64
        ) throws(StorageError) -> any TargetMap

    /// A disk of a format.
    ///
    /// - Parameters:
    ///   - keepsContent: all that is written to it is what it reads as already.
    ///   - sourceMap: makes a map of the first bytes for reading, nil for all. Also of a disk that
    ///     was opened for writing, which then is read for what is on stable storage.
    ///   - targetMap: makes a map of the first bytes for writing; nil for a disk that can't be.
    package init(
        path: FilePath, format: String, access: Access, geometry: Geometry,
        identity: DeviceIdentity, caching: Caching, warnings: [String] = [],
        resolvedPath: String, devices: [StorageDevice], image: ImageChain? = nil,
        bitmaps: ImageBitmaps? = nil, keepsContent: Bool = false, isNewOverlay: Bool = false,
        sourceMap: @escaping @Sendable (_ size: Int64?) -> any SourceMap,
        targetMap: TargetMaker?
    ) {
        self.path = path
        self.format = format
        self.access = access
        self.geometry = geometry
        self.identity = identity
        self.caching = caching
        notes = devices.flatMap(\.notes)
        self.warnings = devices.flatMap(\.warnings) + warnings
        self.resolvedPath = resolvedPath
        self.devices = devices
        self.image = image
        self.bitmaps = bitmaps
        self.keepsContent = keepsContent
        self.isNewOverlay = isNewOverlay
        makeSourceMap = sourceMap
        makeTargetMap = targetMap
    }

    /// A raw disk or image: its bytes are the file's.
    public convenience init(_ device: StorageDevice) { self.init(device, warnings: []) }

    /// The same, with more to know about it.
    package convenience init(_ device: StorageDevice, warnings: [String]) {
        let written: TargetMaker = { (size) throws(StorageError) in RawMap(device, size: size) }
        self.init(
            path: device.path, format: "raw", access: device.access, geometry: device.geometry,
            identity: device.identity, caching: device.caching, warnings: warnings,
            resolvedPath: device.resolvedPath, devices: [device],
            sourceMap: { (size: Int64?) -> any SourceMap in
                RawMap(device, size: size, for: .readOnly)
            },
            targetMap: device.access == .readWrite ? written : nil)
    }

    /// The file or disk at `path`.
    public var device: StorageDevice { devices[0] }

    /// A map of the first `size` bytes for reading; nil for all.
    package func sourceMap(size: Int64? = nil) -> any SourceMap { makeSourceMap(size) }

    /// A map of the first `size` bytes for writing; nil if the disk was not opened for that.
    package func targetMap(size: Int64) throws(StorageError) -> (any TargetMap)? {
        try makeTargetMap?(size)
    }
}
