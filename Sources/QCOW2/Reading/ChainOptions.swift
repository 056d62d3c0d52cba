public import BlockStorage

/// How to open an image and what is below it.
public struct ChainOptions: Sendable {
    /// The format of the image itself; what is below says its own.
    public var format: ImageFormat
    /// How every file of the chain is read.
    public var cache: CacheChoice
    /// Read also what others may be writing at the same time.
    public var allowSourceInUse: Bool
    /// False: the image alone. What it does not have reads as zeros.
    public var opensBacking: Bool
    /// Open no file but the image itself: one that names a backing file or a data file is refused.
    /// What an image from elsewhere names can be any file of this machine.
    public var namedFileOnly: Bool

    /// Options that read an image of this format with all that is below it.
    public init(
        format: ImageFormat, cache: CacheChoice = .automatic, allowSourceInUse: Bool = false,
        opensBacking: Bool = true, namedFileOnly: Bool = false
    ) {
        self.format = format
        self.cache = cache
        self.allowSourceInUse = allowSourceInUse
        self.opensBacking = opensBacking
        self.namedFileOnly = namedFileOnly
    }

    var source: SourceOptions {
        var options = SourceOptions(cache: cache, allowSourceInUse: allowSourceInUse)
        options.isReadOnce = true
        return options
    }
}
