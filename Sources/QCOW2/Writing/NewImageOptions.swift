package import BlockStorage
package import SystemPackage

/// What a new image is to be like.
public struct NewImageOptions: Sendable, Equatable {
    /// Bytes of the disk. QEMU sees only whole sectors of 512 bytes.
    public var size: Int64
    /// A power of two from 512 to 2 MiB.
    public var clusterSize: Int64 = 65536
    /// The name of the image below, as it is to be stored: relative to the new image's directory,
    /// unless it begins with a slash.
    public var backingFile: String?
    /// The format of the image below, such as `raw` or `qcow2`. Without it readers have to guess,
    /// which is unsafe.
    public var backingFormat: String?
    /// Whether other programs may leave refcounts behind the truth, and mark the image as dirty.
    public var lazyRefcounts = false
    /// Whether every cluster has its place from the beginning.
    public var preallocatesMetadata = false
    /// Whether the 32 parts of a cluster can be allocated each for itself.
    public var extendedL2 = false
    /// A power of two from 1 to 64.
    public var refcountBits = 16

    /// An image of so many bytes, and otherwise as QEMU makes them.
    public init(size: Int64) { self.size = size }

    /// Throws what is wrong with the options, if anything is.
    package func validate(for path: FilePath) throws(StorageError) { _ = try header(for: path) }

    /// The header that the image will have, but for the places of its tables.
    ///
    /// - Throws: `ImageProblem.unsupported` if there can't be such an image.
    func header(for path: FilePath) throws(StorageError) -> Header {
        func refusal(_ what: String, _ remedy: Remedy = .none) -> StorageError {
            .image(ImageProblem(.unsupported, path, what, remedy: remedy))
        }
        guard clusterSize.nonzeroBitCount == 1, (512...(2 << 20)).contains(clusterSize) else {
            throw refusal(
                "a cluster can't have \(clusterSize) bytes",
                "Powers of two from 512 to 2M are possible; 64K is usual.")
        }
        guard !extendedL2 || clusterSize >= 16384 else {
            throw refusal(
                "subclusters need clusters of 16K or more", "Clusters of 128K suit them best.")
        }
        guard refcountBits.nonzeroBitCount == 1, (1...64).contains(refcountBits) else {
            throw refusal(
                "a refcount can't have \(refcountBits) bits",
                "Powers of two from 1 to 64 are possible; 16 is usual.")
        }
        if let backingFile {
            let length = backingFile.utf8.count
            guard (1...Header.backingNameMax).contains(length), !backingFile.utf8.contains(0) else {
                throw refusal("the backing file's name can't have \(length) bytes")
            }
            guard !preallocatesMetadata || extendedL2 else {
                throw refusal(
                    "preallocated clusters would hide the backing file",
                    "Use one or the other, or extended L2 entries.")
            }
        }
        guard backingFormat == nil || backingFile != nil else {
            throw refusal("there is the format of a backing file, and no backing file")
        }
        var header = Header()
        header.clusterBits = clusterSize.trailingZeroBitCount
        header.size = size
        header.refcountOrder = refcountBits.trailingZeroBitCount
        if extendedL2 { header.incompatible.insert(.extendedL2) }
        if lazyRefcounts { header.compatible.insert(.lazyRefcounts) }
        header.backingFile = backingFile
        header.set(.backingFormat, backingFormat.map { Array($0.utf8) })
        if clusterSize > 4096 { header.set(.featureNames, FeatureNames.table) }
        let sizeMax = Header.l1BytesMax / 8 * header.l2Coverage
        guard size >= 0, size <= sizeMax else {
            throw refusal(
                "with clusters of \(clusterSize) bytes a disk can't have \(size) bytes",
                "At most \(sizeMax) are possible; larger clusters allow more.")
        }
        header.l1EntryCount = header.l1EntriesNeeded
        return header
    }
}

/// The names of features, which programs print that don't know the features.
enum FeatureNames {
    private static let names: [(type: UInt8, bit: UInt8, name: String)] = [
        (0, 0, "dirty bit"), (0, 1, "corrupt bit"), (0, 2, "external data file"),
        (0, 3, "compression type"), (0, 4, "extended L2 entries"),
        (1, 0, "lazy refcounts"),
        (2, 0, "bitmaps"), (2, 1, "raw external data"),
    ]

    /// 48 bytes for each.
    static var table: [UInt8] {
        names.flatMap { item in
            let name = Array(item.name.utf8)
            return [item.type, item.bit] + name + [UInt8](repeating: 0, count: 46 - name.count)
        }
    }
}
