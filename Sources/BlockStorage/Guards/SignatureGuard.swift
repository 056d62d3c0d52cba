internal import SystemPackage

/// Looks for a filesystem, partition table or other signature that a mirror would destroy.
enum SignatureGuard {
    static func check(_ target: OpenedObject, overwrite: Bool) throws(StorageError) {
        guard !overwrite else { return }
        let signatures: [Signature]
        do throws(Errno) {
            signatures = try SignatureProbe.signatures(on: target.descriptor)
        } catch {
            throw .systemCall(call: "probing for signatures", path: target.path, code: error)
        }
        guard signatures.isEmpty else {
            throw .refused(.carriesSignature(target: target.path, signatures: signatures))
        }
    }
}
