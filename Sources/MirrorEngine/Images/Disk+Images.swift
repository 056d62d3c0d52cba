internal import BlockStorage
internal import DirtyBitmap
package import QCOW2
internal import SystemPackage

// How images of a format become disks.

extension Disk {
    /// A chain of images as it reads; what some of its layers have together, if they are named.
    ///
    /// - Parameter bitmaps: the bitmaps inside the image; nil: they are only read.
    package convenience init(
        _ chain: ImageChain, layers: Range<Int>? = nil, bitmaps: ImageBitmaps? = nil
    ) {
        self.init(
            chain, bitmaps: bitmaps,
            sourceMap: { (size: Int64?) -> any SourceMap in
                chain.map(layers: layers, size: size ?? chain.size)
            },
            targetMap: nil)
    }

    /// An image that is written.
    ///
    /// - Parameters:
    ///   - keepsContent: what is written reads as the image does already, so that no bitmap of it
    ///     need hear of it, in the image or in a store.
    ///   - isNew: it was made by this process, and nothing was written to it yet.
    ///   - warnings: what makes it weaker than one may expect, in sentences.
    package convenience init(
        _ image: WritableImage, keepsContent: Bool = false, isNew: Bool = false,
        warnings: [String] = []
    ) {
        self.init(
            image.chain, bitmaps: image.bitmaps, keepsContent: keepsContent, isNew: isNew,
            warnings: warnings,
            sourceMap: { (size: Int64?) -> any SourceMap in
                do throws(StorageError) {
                    return try image.read().map(size: size)
                } catch {
                    return UnreadableMap(name: image.chain.top.path.string, size: size, error)
                }
            },
            targetMap: { (size: Int64) throws(StorageError) -> any TargetMap in
                try image.target(size: size, keepsContent: keepsContent)
            })
    }

    private convenience init(
        _ chain: ImageChain, bitmaps: ImageBitmaps?, keepsContent: Bool = false,
        isNew: Bool = false, warnings: [String] = [],
        sourceMap: @escaping @Sendable (Int64?) -> any SourceMap,
        targetMap: (@Sendable (Int64) throws(StorageError) -> any TargetMap)?
    ) {
        guard let device = chain.top.device else {
            preconditionFailure("a disk needs a device; a chain over memory is for tests")
        }
        let devices = chain.devices
        let own = chain.top.header.map { ImageBitmaps(chain.top.file, $0) }
        self.init(
            path: device.path, format: chain.top.format.rawValue, access: device.access,
            geometry: device.geometry.withSize(chain.size),
            identity: device.identity.withSize(chain.size),
            caching: devices.map(\.caching).first { $0 != .direct } ?? .direct,
            warnings: warnings + chain.corruptionWarnings, resolvedPath: device.resolvedPath,
            devices: devices,
            image: chain, bitmaps: bitmaps ?? own, keepsContent: keepsContent,
            isNewOverlay: isNew && chain.layers.count > 1,
            sourceMap: sourceMap, targetMap: targetMap)
    }
}

extension Disk {
    /// Marks all of the disk in the enabled bitmaps inside its image, which is open for writing.
    func markOwnBitmaps() throws(StorageError) {
        guard image != nil, !keepsContent, let bitmaps else { return }
        var all = DirtyBitmap(
            size: geometry.size, granularity: Granularity(forSize: geometry.size))
        all.setAll()
        // They stay so where they could not be stored: it is tried again.
        if !bitmaps.isMarkedInUse { try bitmaps.markInUse() }
        try bitmaps.store(changed: all)
    }
}

extension ImageChain {
    /// All files that the chain consists of, that of the image itself first.
    var devices: [StorageDevice] { layers.flatMap(\.devices) }

    /// That what is read of the chain may be wrong, in sentences.
    fileprivate var corruptionWarnings: [String] {
        layers.filter { $0.header?.incompatible.contains(.corrupt) ?? false }.map {
            "\($0.path) is marked as corrupt: a program found its tables damaged, and what is read "
                + "of it may be wrong. `qemu-img check` tells what is."
        }
    }
}

extension Layer {
    /// The files that it consists of.
    var devices: [StorageDevice] { [device, dataDevice].compactMap(\.self) }
}

/// Stands for a disk that could be opened and can't be read any more: it says so when it is asked.
struct UnreadableMap: SourceMap {
    let name: String
    let size: Int64
    private let error: StorageError

    init(name: String, size: Int64?, _ error: StorageError) {
        self.name = name
        self.size = size ?? 0
        self.error = error
    }

    var endpoints: [Endpoint] { [] }
    var alignment: Int { 1 }

    func content(at offset: Int64) throws(StorageError) -> StorageExtent { throw error }

    func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace { throw error }

    func sizeChange() throws(StorageError) -> SizeChange? { throw error }
}
