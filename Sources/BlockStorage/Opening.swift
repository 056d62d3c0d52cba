import Glibc
public import SystemPackage

extension StorageDevice {
    /// Opens what is to be read.
    ///
    /// A disk is claimed with O_EXCL, an image locked against other ringmirror targets, for as
    /// long as the device lives.
    ///
    /// - Throws: `StorageError.refused(.sourceInUse)` if anybody may write it meanwhile and
    ///   `allowSourceInUse` was not given.
    public static func openSource(
        _ path: FilePath, options: SourceOptions = SourceOptions()
    ) throws(StorageError) -> StorageDevice {
        try openSource(path, options: options, view: .live)
    }

    package static func openSource(
        _ path: FilePath, options: SourceOptions, view: SystemView
    ) throws(StorageError) -> StorageDevice {
        let opened = try OpenedObject.open(path, access: .readOnly)
        var notes: [String] = []
        notes += try GuardRunner(view: view).checkSource(opened, options: options)
        let lock = try StorageLock.lockSource(opened, view: view)
        let direct = try DirectAccess.open(opened, access: .readOnly, choice: options.cache)
        notes += StorageDescription.notes(opened, direct, view)
        return StorageDevice(
            opened: opened, access: .readOnly, direct: direct, lock: lock,
            description: try .describe(opened, direct, view), startsZero: false, notes: notes)
    }

    /// Opens what is to be written, or makes it, and runs every guard against `source`.
    ///
    /// After it has returned, nothing stands between the caller and the bytes of the target.
    public static func openTarget(
        _ path: FilePath, for source: StorageDevice, options: TargetOptions = TargetOptions()
    ) throws(StorageError) -> StorageDevice {
        try openTarget(path, for: source, options: options, view: .live)
    }

    package static func openTarget(
        _ path: FilePath, for source: StorageDevice, options: TargetOptions, view: SystemView
    ) throws(StorageError) -> StorageDevice {
        if let image = try NewImage.create(path, for: source, options: options) {
            do throws(StorageError) {
                let device = try finishTarget(
                    image.opened, for: source, options: options, startsZero: true, view: view)
                return device
            } catch {
                // What this call made and nobody may use must not stay behind.
                image.remove()
                throw error
            }
        }
        let opened = try OpenedObject.open(path, access: .readWrite)
        return try finishTarget(
            opened, for: source, options: options, startsZero: false, view: view)
    }

    private static func finishTarget(
        _ opened: OpenedObject, for source: StorageDevice, options: TargetOptions,
        startsZero: Bool, view: SystemView
    ) throws(StorageError) -> StorageDevice {
        let guards = GuardRunner(view: view)
        try guards.checkTarget(opened, for: source)
        let lock = try StorageLock.lockTarget(opened, view: view)
        try guards.checkContent(of: opened, for: source, options: options)
        let direct = try DirectAccess.open(opened, access: .readWrite, choice: options.cache)
        return StorageDevice(
            opened: opened, access: .readWrite, direct: direct, lock: lock,
            description: try .describe(opened, direct, view), startsZero: startsZero,
            notes: StorageDescription.notes(opened, direct, view))
    }
}

extension OpenedObject {
    /// Opens a path that must exist, claims it if it is a disk, and makes sure that it is what
    /// it was a moment ago.
    static func open(_ path: FilePath, access: Access) throws(StorageError) -> OpenedObject {
        let before: FileStatus
        do throws(Errno) {
            before = try SystemCalls.status(at: path)
        } catch {
            throw .opening(path, access, error)
        }
        let kind = try storageKind(of: before, path)
        // O_NONBLOCK: should a pipe have taken the place meanwhile, the open must not wait.
        let mode = (access == .readOnly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY
        let descriptor: Descriptor
        var isClaimed = true
        do throws(Errno) {
            descriptor = try kind == .disk ? claim(path, mode) : SystemCalls.open(path, mode)
        } catch {
            guard kind == .disk, error == .resourceBusy else { throw .opening(path, access, error) }
            // Somebody has claimed it. A look is harmless, and lets the guards say who.
            isClaimed = false
            do throws(Errno) {
                descriptor = try SystemCalls.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
            } catch {
                throw .opening(path, access, error)
            }
        }
        return try OpenedObject(
            path: path, kind: kind, descriptor: descriptor, expected: before.identity,
            isClaimed: isClaimed)
    }

    /// Opens a disk with an exclusive claim.
    ///
    /// The claim of a process that was killed outlives it a little: the kernel takes its io_uring
    /// down, and with it the files, on a thread of its own. That is waited out.
    private static func claim(_ path: FilePath, _ mode: CInt) throws(Errno) -> Descriptor {
        for _ in 0..<claimRetries {
            do throws(Errno) {
                return try SystemCalls.open(path, mode | O_EXCL)
            } catch {
                guard error == .resourceBusy else { throw error }
            }
            SystemCalls.sleep(milliseconds: claimPauseMilliseconds)
        }
        return try SystemCalls.open(path, mode | O_EXCL)
    }

    // 10 × 25 ms = 0.25 s; some ms were seen.
    private static let claimRetries = 10
    private static let claimPauseMilliseconds: UInt32 = 25

    init(
        path: FilePath, kind: StorageKind, descriptor: Descriptor, expected: NodeIdentity?,
        isClaimed: Bool
    ) throws(StorageError) {
        let found: FileStatus
        let resolved: String
        do throws(Errno) {
            found = try SystemCalls.status(of: descriptor)
            try SystemCalls.clearNonblocking(descriptor)
        } catch {
            throw .systemCall(call: "statx", path: path, code: error)
        }
        do throws(Errno) {
            resolved = try SystemCalls.linkTarget(FilePath("/proc/self/fd/\(descriptor.raw)"))
        } catch {
            throw .refused(.unverifiable(path: path, missing: "/proc/self/fd"))
        }
        if let expected, expected != found.identity { throw .changedWhileOpening(path: path) }
        self.init(
            path: path, kind: kind, descriptor: descriptor, status: found,
            resolvedPath: resolved, isClaimed: isClaimed)
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

extension StorageError {
    /// The error of an open, by what it means for the user.
    static func opening(_ path: FilePath, _ access: Access, _ code: Errno) -> StorageError {
        switch code {
        case .noSuchFileOrDirectory, .notDirectory: .notFound(path: path)
        case .permissionDenied, .notPermitted: .permissionDenied(path: path, access: access)
        case .readOnlyFileSystem where access == .readWrite:
            .refused(.readOnlyTarget(target: path, reason: "its filesystem or device is"))
        default: .systemCall(call: "open", path: path, code: code)
        }
    }
}
