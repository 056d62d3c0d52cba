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
        var opened: OpaquePointer?
        try check(unsafe ringmirror_probe_open(descriptor.raw, &opened))
        guard let probe = unsafe opened else { throw .noMemory }
        defer { unsafe ringmirror_probe_close(probe) }

        var found: [Signature] = []
        while found.count < signaturesMax {
            var isOne: CInt = 0
            try check(unsafe ringmirror_probe_next(probe, &isOne))
            if isOne == 0 { break }
            if let signature = unsafe signature(probe), !found.contains(signature) {
                found.append(signature)
            }
        }
        return found
    }

    private static func signature(_ probe: OpaquePointer) -> Signature? {
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

    private static func value(_ name: String, _ probe: OpaquePointer) -> String? {
        guard let text = unsafe ringmirror_probe_value(probe, name) else { return nil }
        let value = unsafe String(cString: text)
        return value.isEmpty ? nil : value
    }

    private static func check(_ code: CInt) throws(Errno) {
        guard code == 0 else { throw Errno(rawValue: code) }
    }
}
