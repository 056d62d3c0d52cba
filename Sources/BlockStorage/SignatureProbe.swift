internal import CBlkid
import Glibc
internal import SystemPackage

/// Low-level probing by libblkid, which knows what mkfs and wipefs know.
enum SignatureProbe {
    /// More signatures than any real disk has; the loop must end on a hostile one, too.
    private static let signaturesMax = 64

    /// Everything recognisable on the descriptor, also what lies behind another signature.
    static func signatures(on descriptor: Descriptor) throws(Errno) -> [Signature] {
        let size = try SystemCalls.seek(descriptor.raw, to: 0, whence: SEEK_END)
        // libblkid takes a size of 0 for an error.
        guard size > 0 else { return [] }
        guard let probe = unsafe blkid_new_probe() else { throw .noMemory }
        defer { unsafe blkid_free_probe(probe) }
        errno = 0
        guard unsafe blkid_probe_set_device(probe, descriptor.raw, 0, 0) == 0 else {
            throw lastError()
        }
        // A bad checksum does not make a filesystem worthless to its owner.
        let superblocks =
            BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_MAGIC
            | BLKID_SUBLKS_BADCSUM
        unsafe blkid_probe_enable_superblocks(probe, 1)
        unsafe blkid_probe_set_superblocks_flags(probe, superblocks)
        unsafe blkid_probe_enable_partitions(probe, 1)
        unsafe blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC)

        var found: [Signature] = []
        while found.count < signaturesMax {
            errno = 0
            let result = unsafe blkid_do_probe(probe)
            if result == 1 { break }
            guard result == 0 else { throw lastError() }
            if let signature = unsafe signature(probe), !found.contains(signature) {
                found.append(signature)
            }
        }
        return found
    }

    private static func signature(_ probe: blkid_probe) -> Signature? {
        if let type = unsafe value("TYPE", probe) {
            return Signature(
                type: type, label: unsafe value("LABEL", probe), uuid: unsafe value("UUID", probe),
                offset: unsafe value("SBMAGIC_OFFSET", probe).flatMap { Int64($0) })
        }
        guard let type = unsafe value("PTTYPE", probe) else { return nil }
        return Signature(
            type: "\(type) partition table", uuid: unsafe value("PTUUID", probe),
            offset: unsafe value("PTMAGIC_OFFSET", probe).flatMap { Int64($0) })
    }

    private static func value(_ name: String, _ probe: blkid_probe) -> String? {
        var text: UnsafePointer<CChar>?
        guard unsafe blkid_probe_lookup_value(probe, name, &text, nil) == 0,
            let text = unsafe text
        else { return nil }
        let value = unsafe String(cString: text)
        return value.isEmpty ? nil : value
    }

    /// libblkid does not promise an errno; a failed probe without one was a failed read.
    private static func lastError() -> Errno { errno == 0 ? .ioError : Errno(rawValue: errno) }
}
