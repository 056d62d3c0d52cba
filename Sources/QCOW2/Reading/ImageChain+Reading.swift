package import BlockStorage

extension ImageChain {
    /// The bytes from `offset` on, decompressed, as these layers have them together. For what is
    /// small: the ring moves bulk data.
    ///
    /// Precondition: the range is not negative; what lies behind the end reads as zeros.
    package func read(
        at offset: Int64, count: Int, layers range: Range<Int>? = nil
    ) throws(StorageError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        let end = offset + Int64(count)
        var decompressor: Decompressor?
        while bytes.count < count {
            let cursor = offset + Int64(bytes.count)
            let extent = try extent(at: cursor, limit: end, layers: range ?? layers.indices)
            let layer = layers[extent.layer]
            let length = Int(extent.length)
            switch extent.content {
            case .unallocated, .zero:
                bytes += [UInt8](repeating: 0, count: length)
            case .stored(let host):
                let part = try layer.dataSource.read(at: host, count: length)
                bytes += part
                guard part.count == length else {
                    throw .image(
                        ImageProblem(
                            .malformed, layer.dataSource.path, at: host + Int64(part.count),
                            "the file ends where data should be: it became shorter meanwhile"))
                }
            case .compressed(let host, let compressedLength, let skip):
                let decompression = decompressor ?? Decompressor()
                decompressor = decompression
                let cluster = try layer.decompress(at: host, compressedLength, with: decompression)
                bytes += cluster[skip..<(skip + length)]
            }
        }
        return bytes
    }
}
