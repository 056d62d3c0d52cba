public import BlockStorage
internal import DirtyBitmap
public import SystemPackage

/// An image and everything below it, open for reading.
///
/// A layer says where it has something; what it does not have, the layer below it decides. Below
/// the last one, and behind the end of any, everything reads as zeros. Any thread may ask.
public final class ImageChain: Sendable {
    /// The image itself first, then what is below it.
    public let layers: [Layer]

    /// Bytes of the disk: as the image itself has it, whatever is below.
    public var size: Int64 { layers[0].size }

    /// The image itself.
    public var top: Layer { layers[0] }

    /// A chain of layers that are there already, the image itself first.
    package init(layers: [Layer]) {
        precondition(!layers.isEmpty, "a chain has at least one layer")
        self.layers = layers
    }

    /// Opens an image and everything below it for reading; every file is claimed as a source is.
    public static func open(
        _ path: FilePath, options: ChainOptions
    ) throws(StorageError) -> ImageChain {
        let device = try StorageDevice.openSource(path, options: options.source)
        return try ImageChain(top: device, options: options)
    }

    /// The chain of an image that is open already, perhaps to be written; what is below it is
    /// opened for reading.
    ///
    /// - Parameters:
    ///   - above: images that stand on this one, and can't be below it as well.
    ///   - held: what this process has open for writing otherwise, and can't be read here.
    package convenience init(
        top: StorageDevice, options: ChainOptions, above: [StorageDevice] = [],
        held: [StorageDevice] = []
    ) throws(StorageError) {
        var opener = ChainOpener(options: options, above: above, held: held)
        try opener.open(top)
        self.init(layers: opener.layers)
    }

    /// The disk as these layers have it together; as all of them have it if none are named.
    ///
    /// - Parameter size: bytes that are mapped; those of the first of the layers if nil.
    package func map(layers: Range<Int>? = nil, size: Int64? = nil) -> ChainMap {
        ChainMap(self, layers: layers ?? self.layers.indices, size: size)
    }
}

/// What some layers have at one place of the disk.
struct ChainExtent: Sendable, Equatable {
    /// The layer that decides. Where none does, any: the content is `unallocated`.
    let layer: Int
    let content: LayerExtent.Content
    let length: Int64

    /// Whether it reads as zeros: below the last layer, everything does.
    var isZero: Bool { content == .unallocated || content == .zero }
}

extension ImageChain {
    /// The longest stretch that one layer decides in one way, or less if that would be much work.
    ///
    /// Precondition: `0 <= offset < limit`.
    func extent(
        at offset: Int64, limit: Int64, layers range: Range<Int>
    ) throws(StorageError) -> ChainExtent {
        var limit = limit
        for index in range {
            let layer = layers[index]
            // Behind its end a layer is zero, also where one below it goes on.
            guard offset < layer.size else {
                return ChainExtent(layer: index, content: .zero, length: limit - offset)
            }
            let extent = try layer.extent(at: offset, limit: min(limit, layer.size))
            guard extent.content == .unallocated else {
                return ChainExtent(
                    layer: index, content: extent.content, length: extent.length)
            }
            limit = offset + extent.length
        }
        return ChainExtent(
            layer: range.upperBound - 1, content: .unallocated, length: limit - offset)
    }
}
