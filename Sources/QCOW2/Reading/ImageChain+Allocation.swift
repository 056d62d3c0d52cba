public import BlockStorage
package import DirtyBitmap

/// How much of its disk a layer has.
public struct LayerAllocation: Sendable, Equatable {
    /// Bytes of the disk that are stored as they are.
    public var dataBytes: Int64 = 0
    /// Bytes of the disk that the layer says are zero.
    public var zeroBytes: Int64 = 0
    /// Clusters that are stored compressed.
    public var compressedClusters: Int64 = 0
    /// Bytes of the disk in those clusters.
    public var compressedBytes: Int64 = 0
    /// Bytes that those clusters take in the file, rounded up to sectors.
    public var packedBytes: Int64 = 0
    /// Bytes of the layer's file, and of its data file.
    public var hostBytes: Int64 = 0
}

extension ImageChain {
    /// How much each layer has, in their order. Complexity: reads all tables.
    public func allocation() throws(StorageError) -> [LayerAllocation] {
        var all: [LayerAllocation] = []
        for layer in layers {
            var sum = LayerAllocation()
            sum.hostBytes = try layer.file.length()
            if let data = layer.dataFile { sum.hostBytes += try data.length() }
            try layer.forEachExtent(upTo: layer.size) { range, content in
                let length = Int64(range.count)
                switch content {
                case .unallocated: break
                case .zero: sum.zeroBytes += length
                case .stored: sum.dataBytes += length
                case .compressed(_, let compressedLength, _):
                    sum.compressedClusters += 1
                    sum.compressedBytes += length
                    sum.packedBytes += Int64(compressedLength)
                }
            }
            all.append(sum)
        }
        return all
    }

    /// What any of these layers has something to say about, zeros included: what has to be
    /// copied onto the layers below them. A raw layer has all of its disk.
    ///
    /// - Parameter size: bytes of the bitmap; those of the first of the layers if nil.
    package func allocated(
        in range: Range<Int>, granularity: Granularity, size: Int64? = nil
    ) throws(StorageError) -> DirtyBitmap {
        precondition(!range.isEmpty && range.upperBound <= layers.count, "no such layers")
        let size = size ?? layers[range.lowerBound].size
        var bitmap = try bitmap(size: size, granularity)
        // How far the layers above let this one be seen.
        var visible = size
        for index in range {
            let layer = layers[index]
            let end = min(visible, layer.size)
            if layer.format == .raw {
                bitmap.set(0..<end)
            } else if end > 0 {
                try layer.forEachExtent(upTo: end) { range, content in
                    if content != .unallocated { bitmap.set(range) }
                }
            }
            // Behind its end the layer is zero, and so it hides what a longer one below has there.
            let below = layers[(index + 1)...].map(\.size).max() ?? 0
            if end < min(visible, below) { bitmap.set(end..<min(visible, below)) }
            visible = end
        }
        return bitmap
    }
}

extension ImageChain {
    /// A clean bitmap of so many bytes, if there can be one.
    func bitmap(size: Int64, _ granularity: Granularity) throws(StorageError) -> DirtyBitmap {
        do throws(DirtyBitmapError) {
            _ = try DirtyBitmap.byteCount(size: size, granularity: granularity)
        } catch {
            throw .image(
                ImageProblem(
                    .unsupported, top.path,
                    "a disk of \(size) bytes has too many parts of \(granularity.bytes)"))
        }
        return DirtyBitmap(size: size, granularity: granularity)
    }
}
