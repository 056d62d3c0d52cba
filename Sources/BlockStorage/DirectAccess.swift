import Glibc
internal import SystemPackage

/// The outcome of asking for O_DIRECT.
struct DirectAccess {
    let descriptor: Descriptor?
    let caching: Caching
    let memoryAlignment: Int
    let offsetAlignment: Int

    /// The largest alignment that is still tried where nobody says what it is.
    private static let alignmentMax = 64 * 1024

    /// Opens `opened` a second time for direct I/O, if it may be and can be.
    static func open(
        _ opened: OpenedObject, access: Access, choice: CacheChoice
    ) throws(StorageError) -> DirectAccess {
        guard choice != .buffered else { return buffered("it was asked for") }
        let mode = access == .readOnly ? O_RDONLY : O_RDWR
        let descriptor: Descriptor
        do throws(Errno) {
            descriptor = try SystemCalls.reopen(opened.descriptor, mode | O_DIRECT)
        } catch {
            guard error == .invalidArgument || error == .notSupported else {
                throw .systemCall(call: "open with O_DIRECT", path: opened.path, code: error)
            }
            return try refuse(opened, choice, "the filesystem refuses O_DIRECT")
        }
        guard let alignment = alignment(of: descriptor, opened) else {
            return try refuse(opened, choice, "no alignment of direct requests is accepted")
        }
        guard alignment.memory > 0, alignment.offset > 0 else {
            return try refuse(opened, choice, "the filesystem offers no direct I/O for this file")
        }
        return DirectAccess(
            descriptor: descriptor, caching: .direct,
            memoryAlignment: alignment.memory, offsetAlignment: alignment.offset)
    }

    /// The kernel's word first, then the device's, then what a trial shows.
    private static func alignment(
        of descriptor: Descriptor, _ opened: OpenedObject
    ) -> DirectAlignment? {
        if let stated = try? SystemCalls.status(of: descriptor).direct { return stated }
        if opened.kind == .disk, let logical = try? SystemCalls.logicalBlockSize(descriptor) {
            return DirectAlignment(memory: logical, offset: logical)
        }
        // At the end of a file every request is accepted, so that a trial of an empty one proves
        // nothing. 4096 suits every disk.
        let isEmpty = (try? SystemCalls.status(of: descriptor).size) == 0
        var length = isEmpty ? 4096 : 512
        while length <= alignmentMax {
            if SystemCalls.trialRead(descriptor, length: length) {
                return DirectAlignment(memory: length, offset: length)
            }
            length *= 2
        }
        return nil
    }

    private static func refuse(
        _ opened: OpenedObject, _ choice: CacheChoice, _ reason: String
    ) throws(StorageError) -> DirectAccess {
        guard choice == .automatic else {
            throw .directIORefused(path: opened.path, reason: reason)
        }
        return buffered(reason)
    }

    private static func buffered(_ reason: String) -> DirectAccess {
        DirectAccess(
            descriptor: nil, caching: .buffered(reason: reason),
            memoryAlignment: 1, offsetAlignment: 1)
    }
}
