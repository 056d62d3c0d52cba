internal import SystemPackage

/// Compares sizes before the first write: a copy that ends in the middle is worth nothing.
enum SizeGuard {
    static func check(
        _ target: OpenedObject, of size: Int64, for sourceSize: Int64, allowLarger: Bool
    ) throws(StorageError) {
        if size < sourceSize {
            throw .refused(
                .targetTooSmall(target: target.path, targetSize: size, sourceSize: sourceSize))
        }
        if size > sourceSize && !allowLarger {
            throw .refused(
                .targetLarger(target: target.path, targetSize: size, sourceSize: sourceSize))
        }
    }

    static func size(of target: OpenedObject) throws(StorageError) -> Int64 {
        do throws(Errno) {
            switch target.kind {
            case .disk: return try SystemCalls.blockDeviceSize(target.descriptor.raw)
            case .image: return try SystemCalls.status(of: target.descriptor).size
            }
        } catch {
            throw .systemCall(call: "asking for its size", path: target.path, code: error)
        }
    }
}
