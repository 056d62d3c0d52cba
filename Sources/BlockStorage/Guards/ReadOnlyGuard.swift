internal import SystemPackage

/// Asks whether the kernel write-protects a disk: it opens for writing all the same, and every
/// write then fails.
enum ReadOnlyGuard {
    static func check(_ target: OpenedObject) throws(StorageError) {
        guard target.kind == .disk else { return }
        do throws(Errno) {
            guard try SystemCalls.isReadOnly(target.descriptor) else { return }
        } catch {
            throw .systemCall(call: "BLKROGET", path: target.path, code: error)
        }
        throw .refused(
            .readOnlyTarget(
                target: target.path,
                reason: "the kernel write-protects the device (see `blockdev --getro`)"))
    }
}
