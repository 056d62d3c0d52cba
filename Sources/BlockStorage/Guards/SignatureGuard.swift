internal import SystemPackage

/// Looks for a filesystem, partition table or other signature that a mirror would destroy.
enum SignatureGuard {
    /// - Parameter earlierMirror: the source of the mirror that the target is said to hold: its own
    ///   signatures are what such a target carries, and are no reason to refuse.
    static func check(
        _ target: OpenedObject, size: Int64, earlierMirror source: StorageDevice?,
        _ view: SystemView
    ) throws(StorageError) {
        let found = try signatures(of: target.descriptor, target.path)
        guard !found.isEmpty else { return }
        if let source, try signatures(of: source.descriptor, source.path) == found { return }
        throw .refused(
            .carriesSignature(
                target: target.path, storage: target.facts(size: size, view), signatures: found))
    }

    private static func signatures(
        of descriptor: Descriptor, _ path: FilePath
    ) throws(StorageError) -> [Signature] {
        do throws(Errno) {
            return try SignatureProbe.signatures(on: descriptor)
        } catch {
            throw .systemCall(call: "probing for signatures", path: path, code: error)
        }
    }
}
