internal import SystemPackage

/// Compares sizes before the first write: a copy that ends in the middle is worth nothing.
enum SizeGuard {
    static func check(
        _ target: OpenedObject, for sourceSize: Int64, allowLarger: Bool
    ) throws(StorageError) {
        let size: Int64
        do throws(Errno) {
            switch target.kind {
            case .disk: size = try SystemCalls.blockDeviceSize(target.descriptor.raw)
            case .image: size = try SystemCalls.status(of: target.descriptor).size
            }
        } catch {
            throw .systemCall(call: "asking for its size", path: target.path, code: error)
        }
        if size < sourceSize {
            throw .refused(
                .targetTooSmall(target: target.path, targetSize: size, sourceSize: sourceSize))
        }
        if size > sourceSize && !allowLarger {
            throw .refused(
                .targetLarger(target: target.path, targetSize: size, sourceSize: sourceSize))
        }
    }
}
