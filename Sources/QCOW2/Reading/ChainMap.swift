package import BlockStorage
internal import SystemPackage

/// The map of some layers of a chain, which read together as one disk.
package final class ChainMap: SourceMap {
    package let size: Int64
    package let endpoints: [Endpoint]
    package let alignment: Int
    package let unit: Int64
    package let compressedLengthMax: Int

    private let chain: ImageChain
    private let range: Range<Int>
    /// For each layer of the chain, which descriptor and what alignment serve it.
    private let ways: [Way]

    /// How one layer is read.
    private struct Way {
        /// Through the page cache; any offset will do.
        var buffered = 0
        /// Around the page cache, where offsets are aligned; nil if that can't be.
        var direct: Int?
    }

    init(_ chain: ImageChain, layers range: Range<Int>, size: Int64?) {
        precondition(!range.isEmpty && range.upperBound <= chain.layers.count, "no such layers")
        self.chain = chain
        self.range = range
        let layers = chain.layers[range]
        self.size = size ?? chain.layers[range.lowerBound].size
        unit = chain.layers[range.lowerBound].clusterBytes ?? 1

        // Where pieces are smaller than a sector, direct reads would mostly read for nothing.
        let smallest = Int(
            clamping: layers.map { $0.clusters == nil ? .max : $0.pieceSize }.min() ?? .max)
        alignment =
            layers.compactMap { $0.dataSourceDevice?.geometry.offsetAlignment }
            .filter { $0 <= smallest }.max() ?? 1

        var endpoints: [Endpoint] = []
        var ways = [Way](repeating: Way(), count: chain.layers.count)
        for index in range {
            guard let device = chain.layers[index].dataSourceDevice else { continue }
            ways[index].buffered = endpoints.count
            endpoints.append(.file(device.bufferedDescriptor))
            if let direct = device.directDescriptor,
                device.geometry.offsetAlignment <= alignment
            {
                ways[index].direct = endpoints.count
                endpoints.append(.file(direct))
            }
        }
        self.endpoints = endpoints
        self.ways = ways

        let packing = layers.filter(\.canHaveCompressedClusters).compactMap(\.clusterBytes).max()
        if let packing {
            compressedLengthMax = 2 * Int(packing) + 512 + 2 * alignment
        } else {
            compressedLengthMax = 0
        }
    }

    package var name: String { chain.layers[range.lowerBound].path.string }

    /// Zeros shorter than this are read along with the data around them.
    private static let gapMin: Int64 = 64 << 10
    /// Stretches that one question looks at, so that its cost is bounded.
    private static let stepsMax = 256

    package func content(at offset: Int64) throws(StorageError) -> StorageExtent {
        precondition(offset >= 0 && offset < size, "offset outside the disk")
        let zeros = try zeros(from: offset, upTo: size)
        if zeros == size || zeros - offset >= Self.gapMin {
            return StorageExtent(range: offset..<zeros, content: .zero)
        }
        var cursor = zeros
        for _ in 0..<Self.stepsMax {
            let extent = try extent(at: cursor, limit: reach(Self.window, from: cursor))
            cursor += extent.length
            if extent.isZero {
                cursor -= extent.length
                let end = try self.zeros(from: cursor, upTo: reach(Self.gapMin, from: cursor))
                // An end that is near is no gap to fold: what is behind it is known as well.
                if end == size || end - cursor >= Self.gapMin { break }
                cursor = end
            }
            if cursor == size { break }
        }
        return StorageExtent(range: offset..<cursor, content: .data)
    }

    /// An offset so many bytes ahead, or the end of the disk.
    private func reach(_ length: Int64, from offset: Int64) -> Int64 {
        length < size - offset ? offset + length : size
    }

    /// How far into the disk one look goes where several layers have to be asked: most of what the
    /// upper ones do not have may be cut short by what the lower ones have.
    private static let window: Int64 = 64 << 20

    /// Where the zeros end that begin at `start`; `start` if there are none.
    private func zeros(from start: Int64, upTo limit: Int64) throws(StorageError) -> Int64 {
        var cursor = start
        var window = range.count == 1 ? limit - start : Self.window
        for _ in 0..<Self.stepsMax where cursor < limit {
            let extent = try extent(
                at: cursor, limit: window < limit - cursor ? cursor + window : limit)
            guard extent.isZero else { break }
            cursor += extent.length
            window = window > limit / 2 ? limit : window * 2
        }
        return cursor
    }

    private func extent(at offset: Int64, limit: Int64) throws(StorageError) -> ChainExtent {
        try chain.extent(at: offset, limit: limit, layers: range)
    }

    package func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
        precondition(offset >= 0 && offset < limit && limit <= size, "range outside the disk")
        let extent = try extent(at: offset, limit: limit)
        let way = ways[extent.layer]
        switch extent.content {
        case .unallocated, .zero:
            return .zero(length: extent.length)
        case .stored(let host):
            return .stored(place(host, offset, extent.length, way))
        case .compressed(let host, let compressedLength, let skip):
            let layer = chain.layers[extent.layer]
            guard let header = layer.header else {
                preconditionFailure("a raw layer has no compressed clusters")
            }
            return .compressed(
                CompressedExtent(
                    file: way.direct ?? way.buffered, hostOffset: host,
                    compressedLength: compressedLength,
                    alignment: way.direct == nil ? 1 : alignment,
                    compression: header.compression, clusterLength: Int(header.clusterSize),
                    skip: skip, length: extent.length))
        }
    }

    /// As much of a stretch as can be read in one way. A direct request begins and ends at
    /// multiples of the alignment, on the disk and in the file, unless it ends the disk; the rest
    /// goes through the page cache.
    private func place(
        _ host: Int64, _ offset: Int64, _ length: Int64, _ way: Way
    ) -> HostExtent {
        let unit = Int64(alignment)
        guard let direct = way.direct, (host - offset) % unit == 0 else {
            return HostExtent(
                file: way.buffered, hostOffset: host, length: length, alignment: 1)
        }
        let ahead = offset % unit
        let whole = offset + length == size ? length : length / unit * unit
        guard ahead == 0, whole > 0 else {
            return HostExtent(
                file: way.buffered, hostOffset: host,
                length: ahead == 0 ? length : min(length, unit - ahead), alignment: 1)
        }
        return HostExtent(file: direct, hostOffset: host, length: whole, alignment: alignment)
    }

    package func sizeChange() throws(StorageError) -> SizeChange? {
        for layer in chain.layers[range] {
            for device in [layer.device, layer.dataDevice] {
                guard let device else { continue }
                let now = try device.currentSize()
                guard now < device.geometry.size else { continue }
                return SizeChange(from: device.geometry.size, to: now)
            }
        }
        return nil
    }
}
