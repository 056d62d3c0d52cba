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
        let opened = try OpenedObject.open(path, access: .readOnly, view)
        let guards = GuardRunner(view: view)
        let found = try guards.checkSource(opened, options: options)
        let use = options.expectsUse ? nil : found
        var landing = opened.landing
        var locks = [try StorageLock.lockSource(opened, view: view, &landing)]
        if !options.allowSourceInUse {
            locks.append(try ImageLocking.take(on: opened, as: .source, view, &landing))
        }
        let direct = try DirectAccess.open(opened, access: .readOnly, choice: options.cache)
        let description = try StorageDescription.describe(opened, direct, view)
        // What has an image open keeps some of its tables to itself. Of a file in memory, a page
        // that is mapped for writing stays so, and only the first store to it moves the times.
        let filesystem = description.filesystem ?? view.loopFilesystem(of: opened.status.identity)
        let hidesWrites =
            use != nil && (options.isReadOnce || filesystem?.mappingsShowWrites == false)
        let caches = PageCaches(of: opened.descriptor, opened.status.identity, .readOnly, view)
        return StorageDevice(
            opened: opened, access: .readOnly, direct: direct, locks: locks.compactMap(\.self),
            caches: caches, description: description, created: nil,
            openingWitness: options.isReadOnce
                ? view.settledWitness(of: opened.descriptor, opened.status.identity) : nil,
            notes: StorageDescription.notes(opened, landing, direct, view),
            warnings: [use, guards.blindness(to: opened, as: .readOnly), caches.deafness]
                .compactMap(\.self),
            hidesWrites: hidesWrites)
    }

    /// Finds out whether a new file at `path` would be refused for its place alone.
    public static func checkNewFile(at path: FilePath) throws(StorageError) {
        try NewImage.check(path)
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
    ///   - content: for `.format`, the size of what is there is not looked at, and its signatures
    ///     only if the format is to be made on it.
    ///   - fill: writes what a new file begins with, before it gets its name.
    ///   - signatureSource: what carries the signatures that the target of an earlier mirror may
    ///     have (`options.holdsMirror`): the source, if it is a disk byte by byte.
    package static func openTarget(
        _ path: FilePath, apartFrom sources: [StorageDevice], size: Int64,
        options: TargetOptions, content: TargetContent, signatureSource: StorageDevice? = nil,
        view: SystemView = .live, fill: (any ImageFile) throws(StorageError) -> Void = { _ in }
    ) throws(StorageError) -> StorageDevice {
        let length = content == .disk ? size : 0
        let created = try NewImage.create(
            path, size: length, options: options, content: content, fill: fill)
        do throws(StorageError) {
            let opened: OpenedObject
            if let created {
                opened = created.opened
            } else {
                opened = try .open(path, access: .readWrite, watchesWriters: true, view)
            }
            return try finish(
                opened, created, apartFrom: sources, as: .target, cache: options.cache, view
            ) { () throws(StorageError) in
                guard content == .disk || (options.create && created == nil) else { return }
                try GuardRunner(view: view).checkContent(
                    of: opened, size: content == .disk ? size : nil,
                    signatureSource: signatureSource, options: options)
            }
        } catch {
            // What this call made and nobody may use must not stay behind.
            created?.remove()
            throw error
        }
    }

    /// Opens what is there already and is changed in place, with all guards of a target but those
    /// that look at its content.
    ///
    /// - Parameter watchesWriters: a job is going to write it, which has to hear of other writers.
    package static func openForChange(
        _ path: FilePath, apartFrom sources: [StorageDevice], cache: CacheChoice = .automatic,
        watchesWriters: Bool = true, view: SystemView = .live
    ) throws(StorageError) -> StorageDevice {
        try finish(
            .open(path, access: .readWrite, watchesWriters: watchesWriters, view), nil,
            apartFrom: sources, as: .change, cache: cache, view)
    }

    private static func finish(
        _ opened: OpenedObject, _ created: NewImage?, apartFrom sources: [StorageDevice],
        as role: ImageLocking.Role, cache: CacheChoice, _ view: SystemView,
        checkingContent check: () throws(StorageError) -> Void = {}
    ) throws(StorageError) -> StorageDevice {
        let guards = GuardRunner(view: view)
        try guards.checkTarget(opened, apartFrom: sources)
        var landing = opened.landing
        let locks = [
            try StorageLock.lockTarget(opened, view: view, &landing),
            try ImageLocking.take(on: opened, as: role, view, &landing),
        ]
        try check()
        let direct = try DirectAccess.open(opened, access: .readWrite, choice: cache)
        let caches = PageCaches(of: opened.descriptor, opened.status.identity, .readWrite, view)
        let unseen = guards.blindness(to: opened, as: .readWrite)
        return StorageDevice(
            opened: opened, access: .readWrite, direct: direct, locks: locks.compactMap(\.self),
            caches: caches, description: try .describe(opened, direct, view), created: created,
            unseenUsers: unseen,
            notes: StorageDescription.notes(opened, landing, direct, view),
            warnings: [unseen, caches.deafness].compactMap(\.self))
    }
}

extension StorageError {
    /// The error of an open, by what it means for the user.
    package static func opening(
        _ path: FilePath, _ access: Access, _ code: Errno
    ) -> StorageError {
        switch code {
        case .noSuchFileOrDirectory, .notDirectory: .notFound(path: path)
        case .permissionDenied, .notPermitted: .permissionDenied(path: path, access: access)
        case .readOnlyFileSystem where access == .readWrite:
            .refused(.readOnlyTarget(target: path, reason: "its filesystem or device is"))
        case .tooManySymbolicLinkLevels:
            .notADiskOrFile(path: path, kind: "symbolic link that leads to itself")
        default: .systemCall(call: "open", path: path, code: code)
        }
    }
}
