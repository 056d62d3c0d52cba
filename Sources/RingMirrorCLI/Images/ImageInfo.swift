import RingMirror

/// A qcow2 image for people and for JSON: its chain, what each image of it has, and its bitmaps.
struct ImageInfo: Encodable {
    struct Layer: Encodable {
        let path, format: String
        let size: Int64
        let clusterSize: Int64?
        let dataBytes, zeroBytes, compressedBytes: Int64
        let compressedClusters, packedBytes, hostBytes: Int64
        /// The file that has the data, if that is another one.
        let dataFile: String?
        let snapshots: [String]
    }

    struct Bitmap: Encodable {
        let name, state: String
        let granularity, dirtyBytes: Int64
    }

    let size: Int64
    /// The image itself first.
    let layers: [Layer]
    let bitmaps: [Bitmap]
    let notes: [String]

    init(_ chain: ImageChain, _ disk: Disk) throws(StorageError) {
        size = chain.size
        let allocation = try chain.allocation()
        layers = zip(chain.layers, allocation).map { layer, has in
            Layer(
                path: layer.path.string, format: layer.format.rawValue, size: layer.size,
                clusterSize: layer.clusterBytes, dataBytes: has.dataBytes,
                zeroBytes: has.zeroBytes, compressedBytes: has.compressedBytes,
                compressedClusters: has.compressedClusters, packedBytes: has.packedBytes,
                hostBytes: has.hostBytes, dataFile: layer.dataPath?.string,
                snapshots: layer.snapshots.map(\.name))
        }
        let list = try disk.bitmaps?.list()
        bitmaps = (list?.bitmaps ?? []).map { bitmap in
            let facts = BitmapFacts(bitmap)
            return Bitmap(
                name: facts.name, state: facts.state.rawValue,
                granularity: facts.granularity.bytes, dirtyBytes: facts.dirtyBytes)
        }
        notes = (list?.notes ?? []) + (list?.problems ?? []).map(\.told)
    }

    /// For people: a title, and what there is to say.
    var rows: [(String, String)] {
        var rows = [("disk", "\(size) bytes (\(ByteSize.text(size)))")]
        for (index, layer) in layers.enumerated() {
            rows.append((index == 0 ? "image" : "below", text(of: layer)))
        }
        for bitmap in bitmaps {
            let dirty =
                bitmap.state == BitmapState.inconsistent.rawValue
                ? "nobody knows what is dirty" : "\(ByteSize.text(bitmap.dirtyBytes)) dirty"
            rows.append(
                (
                    "bitmap",
                    "\(bitmap.name), \(bitmap.state), \(ByteSize.text(bitmap.granularity)) a bit, "
                        + dirty
                ))
        }
        return rows
    }

    private func text(of layer: Layer) -> String {
        var parts = ["\(layer.path): \(layer.format)"]
        if let size = layer.clusterSize { parts.append("clusters of \(ByteSize.text(size))") }
        let place = layer.dataFile.map { " in the data file \($0)" } ?? ""
        parts.append("\(ByteSize.text(layer.dataBytes)) data" + place)
        if layer.zeroBytes > 0 { parts.append("\(ByteSize.text(layer.zeroBytes)) zeros") }
        if layer.compressedBytes > 0 {
            parts.append(
                "\(ByteSize.text(layer.compressedBytes)) compressed to "
                    + ByteSize.text(layer.packedBytes))
        }
        if layer.size != size { parts.append("of a disk of \(ByteSize.text(layer.size))") }
        if !layer.snapshots.isEmpty {
            parts.append("snapshots: " + layer.snapshots.joined(separator: ", "))
        }
        return parts.joined(separator: ", ")
    }
}
