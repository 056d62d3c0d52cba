import Glibc
public import SystemPackage

extension StorageDevice {
    /// Opens what is to be read.
    ///
    /// A disk is claimed with O_EXCL, an image locked against other ringmirror targets, and both
    /// against virtual machines that would write them, for as long as the device lives.
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
        var locks = [try StorageLock.lockSource(opened, view: view)]
        if !options.allowSourceInUse {
            locks.append(try ImageLocking.take(on: opened, as: .source, view))
        }
        let direct = try DirectAccess.open(opened, access: .readOnly, choice: options.cache)
        notes += StorageDescription.notes(opened, direct, view)
        return StorageDevice(
            opened: opened, access: .readOnly, direct: direct, locks: locks.compactMap(\.self),
            description: try .describe(opened, direct, view), created: nil, notes: notes)
    }

    /// Opens what is to be written, or makes it, and runs every guard against `source`.
    ///
    /// After it has returned, nothing stands between the caller and the bytes of the target.
    public static func openTarget(
        _ path: FilePath, for source: StorageDevice, options: TargetOptions = TargetOptions()
    ) throws(StorageError) -> StorageDevice {
        try openTarget(
            path, apartFrom: [source], size: source.geometry.size, options: options,
            content: .disk, signatureSource: source)
    }

    /// Opens what is to be written, or makes it, and runs every guard against all the files of a
    /// source.
    ///
    /// - Parameters:
    ///   - size: how many bytes the disk has that is copied. A new image file is made as long for
    ///     `.disk`, and empty for `.format`.
    ///   - content: for `.format`, neither the size nor the signatures of what is there are looked
    ///     at.
    ///   - signatureSource: what carries the signatures that the target of an earlier mirror may
    ///     have (`options.holdsMirror`): the source, if it is a disk byte by byte.
    package static func openTarget(
        _ path: FilePath, apartFrom sources: [StorageDevice], size: Int64,
        options: TargetOptions, content: TargetContent, signatureSource: StorageDevice? = nil,
        view: SystemView = .live
    ) throws(StorageError) -> StorageDevice {
        let length = content == .disk ? size : 0
        let created = try NewImage.create(path, size: length, options: options)
        do throws(StorageError) {
            let opened: OpenedObject
            if let created {
                opened = created.opened
            } else {
                opened = try .open(path, access: .readWrite)
            }
            return try finish(
                opened, created, apartFrom: sources, as: .target, cache: options.cache, view
            ) { () throws(StorageError) in
                guard content == .disk else { return }
                try GuardRunner(view: view).checkContent(
                    of: opened, size: size, signatureSource: signatureSource, options: options)
            }
        } catch {
            // What this call made and nobody may use must not stay behind.
            created?.remove()
            throw error
        }
    }

    /// Opens what is there already and is changed in place, with all guards of a target but those
    /// that look at its content.
    package static func openForChange(
        _ path: FilePath, apartFrom sources: [StorageDevice], cache: CacheChoice = .automatic,
        view: SystemView = .live
    ) throws(StorageError) -> StorageDevice {
        try finish(
            .open(path, access: .readWrite), nil, apartFrom: sources, as: .change, cache: cache,
            view)
    }

    private static func finish(
        _ opened: OpenedObject, _ created: NewImage?, apartFrom sources: [StorageDevice],
        as role: ImageLocking.Role, cache: CacheChoice, _ view: SystemView,
        checkingContent check: () throws(StorageError) -> Void = {}
    ) throws(StorageError) -> StorageDevice {
        try GuardRunner(view: view).checkTarget(opened, apartFrom: sources)
        let locks = [
            try StorageLock.lockTarget(opened, view: view),
            try ImageLocking.take(on: opened, as: role, view),
        ]
        try check()
        let direct = try DirectAccess.open(opened, access: .readWrite, choice: cache)
        return StorageDevice(
            opened: opened, access: .readWrite, direct: direct, locks: locks.compactMap(\.self),
            description: try .describe(opened, direct, view), created: created,
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
