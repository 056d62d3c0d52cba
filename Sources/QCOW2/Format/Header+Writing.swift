package import BlockStorage
internal import DirtyBitmap
package import SystemPackage

extension Header {
    /// The first cluster of the file as it has to be, whole.
    ///
    /// - Throws: `ImageProblem.full` if it does not fit one cluster.
    package func encoded(for path: FilePath) throws(StorageError) -> [UInt8] {
        let length = version == 2 ? 72 : 112 + unknownFields.count
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.put(Self.magic, at: 0)
        bytes.put(UInt32(version), at: 4)
        bytes.put(UInt32(clusterBits), at: 20)
        bytes.put(UInt64(size), at: 24)
        bytes.put(encryption, at: 32)
        bytes.put(UInt32(l1EntryCount), at: 36)
        bytes.put(UInt64(l1Offset), at: 40)
        bytes.put(UInt64(refcountTableOffset), at: 48)
        bytes.put(UInt32(refcountTableClusters), at: 56)
        bytes.put(UInt32(snapshotCount), at: 60)
        bytes.put(UInt64(snapshotsOffset), at: 64)
        if version == 3 {
            bytes.put(incompatible.rawValue, at: 72)
            bytes.put(compatible.rawValue, at: 80)
            bytes.put(autoclear.rawValue, at: 88)
            bytes.put(UInt32(refcountOrder), at: 96)
            bytes.put(UInt32(length), at: 100)
            bytes[104] = compression.rawValue
            bytes.replaceSubrange(112..<length, with: unknownFields)
        }
        for item in extensions {
            var head = [UInt8](repeating: 0, count: 8)
            head.put(item.kind.magic, at: 0)
            head.put(UInt32(item.data.count), at: 4)
            bytes += head + item.data
            bytes += [UInt8](
                repeating: 0, count: item.data.count.roundedUp(to: 8) - item.data.count)
        }
        bytes += [UInt8](repeating: 0, count: 8)
        if let backingFile {
            bytes.put(UInt64(bytes.count), at: 8)
            bytes.put(UInt32(backingFile.utf8.count), at: 16)
            bytes += Array(backingFile.utf8)
        }
        guard bytes.count <= clusterSize else {
            throw .image(
                ImageProblem(
                    .full, path, at: 0,
                    "a header of \(bytes.count) bytes does not fit a cluster of \(clusterSize)",
                    remedy: "Use larger clusters, or shorter names."))
        }
        bytes += [UInt8](repeating: 0, count: Int(clusterSize) - bytes.count)
        return bytes
    }
}
