/// How a disk or image may be used.
public enum Access: String, Sendable, Codable {
    case readOnly, readWrite
}

/// What a path turned out to be.
public enum StorageKind: String, Sendable, Codable {
    /// A regular file.
    case image
    /// A block device.
    case disk
}

/// What the user asked about the page cache.
public enum CacheChoice: String, Sendable, CaseIterable {
    /// Direct where the file allows it, else buffered, and say why.
    case automatic = "auto"
    /// Direct, or fail.
    case direct
    /// Through the page cache.
    case buffered
}

/// What really happens to the bytes on their way.
public enum Caching: Equatable, Sendable {
    case direct
    case buffered(reason: String)
}

/// How to open the side that is read.
public struct SourceOptions: Sendable {
    public var cache: CacheChoice = .automatic
    /// Read also what others may be writing at the same time. The copy is then of no one moment.
    public var allowSourceInUse = false
    /// The kernel tells of what is written meanwhile, so that a use is nothing to warn of.
    public var expectsUse = false
    /// Open no file but the one that is named: an image that needs others is refused.
    public var namedFileOnly = false
    /// What is read when it is opened, such as the tables of an image, is not read again: whether
    /// it was written since counts from then.
    package var isReadOnce = false

    public init(
        cache: CacheChoice = .automatic, allowSourceInUse: Bool = false,
        namedFileOnly: Bool = false
    ) {
        self.cache = cache
        self.allowSourceInUse = allowSourceInUse
        self.namedFileOnly = namedFileOnly
    }
}

/// What a target is to hold.
package enum TargetContent: Sendable {
    /// The bytes of a disk, one by one: the target must be large enough for them, and what it
    /// carries now is lost.
    case disk
    /// An image format, which grows its file and judges for itself what is there already.
    case format
}

/// How to open the side that is written.
public struct TargetOptions: Sendable {
    public var cache: CacheChoice = .automatic
    /// Make a new image file, which must not exist yet.
    public var create = false
    /// Write over a target that carries a filesystem, a partition table or other data.
    public var overwrite = false
    /// The target is said to hold an earlier mirror of the source, so that it may hold data and
    /// carry the source's own signatures.
    public var holdsMirror = false
    /// Accept a target that is larger than the source; what lies beyond stays as it is.
    public var allowLarger = false
    /// Open no file but the one that is named: an image that needs others is refused.
    public var namedFileOnly = false

    public init(
        cache: CacheChoice = .automatic, create: Bool = false, overwrite: Bool = false,
        holdsMirror: Bool = false, allowLarger: Bool = false, namedFileOnly: Bool = false
    ) {
        self.cache = cache
        self.create = create
        self.overwrite = overwrite
        self.holdsMirror = holdsMirror
        self.allowLarger = allowLarger
        self.namedFileOnly = namedFileOnly
    }
}
