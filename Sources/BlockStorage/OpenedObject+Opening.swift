import Glibc
package import SystemPackage

extension OpenedObject {
    /// Opens a path that must exist, claims it if it is a disk, and makes sure that it is what
    /// it was a moment ago.
    ///
    /// - Parameter watchesWriters: whoever else writes it is noted from now on.
    static func open(
        _ path: FilePath, access: Access, watchesWriters: Bool = false, _ view: SystemView
    ) throws(StorageError) -> OpenedObject {
        let before: FileStatus
        do throws(Errno) {
            before = try SystemCalls.status(at: path)
        } catch {
            throw .opening(path, access, error)
        }
        let kind = try storageKind(of: before, path)
        // O_NONBLOCK: should a pipe have taken the place meanwhile, the open must not wait.
        let mode = (access == .readOnly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY
        var landing = Landing()
        var writers = SystemCalls.Writers.unknown
        var isClaimed = true
        var watch: WriterWatch?
        let descriptor: Descriptor
        do throws(Errno) {
            if kind == .disk {
                if let claimed = try claim(path, mode, before.identity, view, &landing) {
                    descriptor = claimed
                    // The guards have yet to look who else has it.
                    if watchesWriters { watch = .begin(claimed, isOpened: false) }
                } else {
                    // Somebody has it. A look is harmless, and lets the guards say who.
                    isClaimed = false
                    descriptor = try SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
                }
            } else {
                let lookout = try SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
                // The file at this path by now may be another one, for a moment.
                if watchesWriters, try SystemCalls.status(of: lookout).identity == before.identity {
                    watch = .begin(lookout, isOpened: false)
                }
                writers = try lookForWriters(lookout, path, before.identity, view, &landing)
                descriptor = try SystemCalls.open(path, mode)
            }
        } catch {
            throw .opening(path, access, error)
        }
        return try OpenedObject(
            path: path, kind: kind, descriptor: descriptor, expected: before.identity,
            isClaimed: isClaimed, writers: writers, landing: landing, watch: watch)
    }

    /// Opens a disk with an exclusive claim; nil if somebody has it.
    private static func claim(
        _ path: FilePath, _ mode: CInt, _ identity: NodeIdentity, _ view: SystemView,
        _ landing: inout Landing
    ) throws(Errno) -> Descriptor? {
        var claimed: Descriptor?
        _ = try landing.wait(
            for: path, isOrphaned: { Landing.isOrphaned(identity, isClaimed: true, view) },
            until: {
                () throws(Errno) in
                do throws(Errno) {
                    claimed = try SystemCalls.open(path, mode | O_EXCL)
                    return true
                } catch {
                    guard error == .resourceBusy else { throw error }
                    return false
                }
            })
        return claimed
    }

    /// Asks who else may write an image, before a descriptor of our own that may counts as well.
    ///
    /// - Parameter lookout: open for reading alone.
    private static func lookForWriters(
        _ lookout: Descriptor, _ path: FilePath, _ identity: NodeIdentity, _ view: SystemView,
        _ landing: inout Landing
    ) throws(Errno) -> SystemCalls.Writers {
        guard try SystemCalls.status(of: lookout).identity == identity else { return .unknown }
        let resolved = view.linkTarget("/proc/self/fd/\(lookout.raw)")
        var found = SystemCalls.Writers.unknown
        _ = landing.wait(
            for: path,
            isOrphaned: {
                Landing.isOrphaned(identity, at: resolved, isClaimed: false, view)
            },
            until: {
                found = SystemCalls.writers(of: lookout)
                return found != .some
            })
        // A writer of our own has passed the guards of what it was opened for, and hides others.
        return found == .some && ProcessGuard.ownAccess(to: [identity], view) == true
            ? .unknown : found
    }

    init(
        path: FilePath, kind: StorageKind, descriptor: Descriptor, expected: NodeIdentity?,
        isClaimed: Bool, writers: SystemCalls.Writers, landing: Landing = Landing(),
        watch: WriterWatch? = nil
    ) throws(StorageError) {
        let found: FileStatus
        try PathText.check(path)
        let resolved: [UInt8]
        do throws(Errno) {
            found = try SystemCalls.status(of: descriptor)
            try SystemCalls.clearNonblocking(descriptor)
        } catch {
            throw .systemCall(call: "statx", path: path, code: error)
        }
        do throws(Errno) {
            resolved = try SystemCalls.linkTargetBytes("/proc/self/fd/\(descriptor.raw)")
        } catch {
            throw .refused(.unverifiable(path: path, missing: "/proc/self/fd"))
        }
        guard let resolvedPath = String(validating: resolved, as: UTF8.self) else {
            throw .nameNotUTF8(name: PathText.escaped(resolved))
        }
        if let expected, expected != found.identity { throw .changedWhileOpening(path: path) }
        self.init(
            path: path, kind: kind, descriptor: descriptor, status: found,
            resolvedPath: resolvedPath, isClaimed: isClaimed, writers: writers, landing: landing,
            watch: watch)
    }

    private static func storageKind(
        of status: FileStatus, _ path: FilePath
    ) throws(StorageError) -> StorageKind {
        switch status.kind {
        case .regular: return .image
        case .blockDevice: return .disk
        case .directory: throw .isDirectory(path: path)
        case .characterDevice: throw .notADiskOrFile(path: path, kind: "character device")
        case .pipe: throw .notADiskOrFile(path: path, kind: "pipe")
        case .socket: throw .notADiskOrFile(path: path, kind: "socket")
        case .other: throw .notADiskOrFile(path: path, kind: "special file")
        }
    }
}

extension SystemCalls {
    /// Whether a file or a disk is there, and not something that has no bytes to look at.
    package static func isFileOrDisk(at path: FilePath) throws(Errno) -> Bool {
        let kind = try status(at: path).kind
        return kind == .regular || kind == .blockDevice
    }
}
