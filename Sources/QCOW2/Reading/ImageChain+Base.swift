package import BlockStorage
package import DirtyBitmap
package import SystemPackage

/// What an image says about the one below it.
package struct BackingLink: Sendable, Equatable {
    /// As it is stored: relative to the image's directory, unless it begins with a slash.
    package let file: String
    package let format: ImageFormat
}

extension ImageChain {
    /// The index of a layer below the first, named by a path that leads to it or as the layer above
    /// names it.
    package func index(ofBase base: FilePath) throws(StorageError) -> Int {
        for index in layers.indices.dropFirst() {
            let layer = layers[index]
            if layers[index - 1].header?.backingFile == base.string || layer.path == base
                || layer.device?.isSame(as: base) == true
            {
                return index
            }
        }
        throw .image(
            ImageProblem(
                .missing, top.path, "\(base) is not below it",
                remedy: "\(.inspect(top.path.string))."))
    }

    /// The same; nil if none is named.
    package func indexOfBase(_ base: FilePath?) throws(StorageError) -> Int? {
        guard let base else { return nil }
        return try index(ofBase: base)
    }

    /// How the first layer has to name another one to stand on it.
    package func link(toLayer index: Int) -> BackingLink {
        precondition(index > 0 && index < layers.count, "no layer below the first")
        let layer = layers[index]
        if let name = layers[index - 1].header?.backingFile, let own = top.device,
            let above = layers[index - 1].device,
            FilePath(own.resolvedPath).removingLastComponent()
                == FilePath(above.resolvedPath).removingLastComponent()
        {
            return BackingLink(file: name, format: layer.format)
        }
        return BackingLink(
            file: layer.device?.resolvedPath ?? layer.path.string, format: layer.format)
    }

    /// The finest granularity at which one of these layers allocates.
    package func granularity(of range: Range<Int>) -> Granularity {
        layers[range].map(\.granularity).min() ?? .default
    }

    /// Where the layers from `index` on show something else than zeros, as far as their tables
    /// tell.
    package func data(
        below index: Int, granularity: Granularity
    ) throws(StorageError) -> DirtyBitmap {
        let map = map(layers: index..<layers.count, size: size)
        var bitmap = try bitmap(size: size, granularity)
        var offset: Int64 = 0
        while offset < size {
            let extent = try map.content(at: offset)
            if extent.content == .data { bitmap.set(extent.range) }
            offset = extent.range.upperBound
        }
        return bitmap
    }
}
