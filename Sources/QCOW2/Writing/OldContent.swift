package import BlockStorage

/// What a target read as when its image was opened and its tables don't say by themselves, for
/// clusters of which only a part is overwritten.
package protocol OldContent: Sendable {
    /// Reads exactly `count` bytes of the disk as the images below have it; what lies beyond the
    /// end of one is zeros.
    func readBelow(at offset: Int64, count: Int) throws(StorageError) -> [UInt8]
    /// Decompresses the cluster that begins at `offset` of the disk, and whose `length` compressed
    /// bytes at most begin at `host` in the image.
    func decompress(at offset: Int64, host: Int64, length: Int) throws(StorageError) -> [UInt8]
}

/// What a target read as, out of the chain whose first layer it is.
package struct ChainContent: OldContent {
    private let chain: ImageChain

    package init(_ chain: ImageChain) { self.chain = chain }

    package func readBelow(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        guard chain.layers.count > 1 else {
            throw .image(
                ImageProblem(
                    .unsupported, chain.top.path,
                    "a part of a cluster can't be changed: the backing file is not open"))
        }
        return try chain.read(at: offset, count: count, layers: 1..<chain.layers.count)
    }

    package func decompress(
        at offset: Int64, host: Int64, length: Int
    ) throws(StorageError) -> [UInt8] {
        try chain.top.decompress(at: host, length, with: Decompressor())
    }
}
