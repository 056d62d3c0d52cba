import Glibc
internal import SystemPackage

/// An image file that this process has just made.
struct NewImage {
    let opened: OpenedObject
    private let directory: Descriptor
    private let name: FilePath
    /// What the file was made by, if not by `opened`. It stays open as long: a child that this
    /// program makes has a copy of it for a moment, and closing the last one is noted as the
    /// child's.
    private let maker: Descriptor?

    /// Readable and writable by its owner alone: an image holds all that the disk held.
    private static let mode: UInt32 = 0o600

    /// Makes the file at `path`, of this length and durable in its directory.
    ///
    /// The file gets its name when it is whole: a process that is killed before leaves nothing.
    /// On filesystems that know no files without a name it has one from the beginning.
    ///
    /// - Parameters:
    ///   - content: `.format` may also be made on a disk that is there.
    ///   - fill: writes what the file begins with.
    /// - Returns: nil if there is something at `path` that is to be opened as it is.
    static func create(
        _ path: FilePath, size: Int64, options: TargetOptions, content: TargetContent = .disk,
        fill: (any ImageFile) throws(StorageError) -> Void = { _ in }
    ) throws(StorageError) -> NewImage? {
        try PathText.check(path)
        do throws(Errno) {
            let found = try SystemCalls.status(at: path)
            guard options.create else { return nil }
            if content == .format && found.kind == .blockDevice { return nil }
            throw found.kind == .directory ? Errno.isDirectory : Errno.fileExists
        } catch .fileExists {
            throw .refused(.alreadyExistsForCreate(target: path))
        } catch .isDirectory {
            throw .isDirectory(path: path)
        } catch {
            guard error == .noSuchFileOrDirectory else { throw .opening(path, .readWrite, error) }
            guard (try? SystemCalls.status(at: path, followLinks: false)) == nil else {
                throw .notADiskOrFile(path: path, kind: "symbolic link that leads to no file")
            }
        }
        let directory = try openDirectory(of: path)
        try refuseUnderDev(path, directory)
        guard options.create else { throw .refused(.missingWithoutCreate(target: path)) }
        guard let component = path.lastComponent, component.kind == .regular else {
            throw .notFound(path: path)
        }
        let name = FilePath(root: nil, [component])
        if let unnamed = try? SystemCalls.openUnnamed(mode: mode, in: directory) {
            try write(unnamed, path, to: size, fill)
            // Without a name nobody can have opened it.
            let watch = WriterWatch.begin(unnamed, isOpened: false)
            return try appear(unnamed, path, name, directory, watch)
        }
        let descriptor: Descriptor
        do throws(Errno) {
            descriptor = try SystemCalls.open(
                name, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY, mode: mode, in: directory.raw)
        } catch {
            throw failure(error, path)
        }
        do throws(StorageError) {
            let watch = WriterWatch.begin(descriptor, isOpened: true)
            try write(descriptor, path, to: size, fill)
            return try finish(descriptor, path, name, directory, watch)
        } catch {
            try? SystemCalls.unlink(name, in: directory)
            throw error
        }
    }

    private static func failure(_ code: Errno, _ path: FilePath) -> StorageError {
        code == .fileExists
            ? .refused(.alreadyExistsForCreate(target: path)) : .opening(path, .readWrite, code)
    }

    /// Brings to stable storage what the file begins with.
    private static func write(
        _ descriptor: Descriptor, _ path: FilePath, to size: Int64,
        _ fill: (any ImageFile) throws(StorageError) -> Void
    ) throws(StorageError) {
        let file = DescriptorFile(path: path, descriptor: descriptor)
        try file.resize(to: size)
        try fill(file)
        do throws(Errno) {
            try SystemCalls.sync(descriptor)
        } catch {
            throw .systemCall(call: "fsync", path: path, code: error)
        }
    }

    /// Gives the file its name, and opens it by that: what the kernel tells of a file that was
    /// opened without one is no path.
    private static func appear(
        _ unnamed: Descriptor, _ path: FilePath, _ name: FilePath, _ directory: Descriptor,
        _ watch: WriterWatch
    ) throws(StorageError) -> NewImage {
        do throws(Errno) {
            try SystemCalls.link(unnamed, as: name, in: directory)
        } catch {
            throw failure(error, path)
        }
        do throws(StorageError) {
            let descriptor: Descriptor
            let isSame: Bool
            do throws(Errno) {
                descriptor = try SystemCalls.open(
                    name, O_RDWR | O_NOFOLLOW | O_NOCTTY, in: directory.raw)
                let (made, found) = (
                    try SystemCalls.status(of: unnamed), try SystemCalls.status(of: descriptor)
                )
                isSame = made.identity == found.identity
            } catch {
                throw .opening(path, .readWrite, error)
            }
            guard isSame else { throw .changedWhileOpening(path: path) }
            return try finish(descriptor, path, name, directory, watch, maker: unnamed)
        } catch {
            removeIfSame(unnamed, name, directory)
            throw error
        }
    }

    private static func finish(
        _ descriptor: Descriptor, _ path: FilePath, _ name: FilePath, _ directory: Descriptor,
        _ watch: WriterWatch, maker: Descriptor? = nil
    ) throws(StorageError) -> NewImage {
        do throws(Errno) {
            try SystemCalls.sync(directory)
        } catch {
            throw .systemCall(call: "making the image", path: path, code: error)
        }
        let opened = try OpenedObject(
            path: path, kind: .image, descriptor: descriptor, expected: nil, isClaimed: true,
            writers: .none, watch: watch)
        return NewImage(opened: opened, directory: directory, name: name, maker: maker)
    }

    private static func removeIfSame(
        _ file: Descriptor, _ name: FilePath, _ directory: Descriptor
    ) {
        guard let made = try? SystemCalls.status(of: file),
            let found = try? SystemCalls.status(of: name, in: directory),
            found.identity == made.identity
        else { return }
        try? SystemCalls.unlink(name, in: directory)
    }

    /// Takes the file away again, in the directory where it was made, if it still has its name
    /// there.
    func remove() { Self.removeIfSame(opened.descriptor, name, directory) }

    /// Refuses a path at which no file is ever made.
    static func check(_ path: FilePath) throws(StorageError) {
        try refuseUnderDev(path, try openDirectory(of: path))
    }

    private static func openDirectory(of path: FilePath) throws(StorageError) -> Descriptor {
        let parent = path.removingLastComponent()
        let directory = parent.isEmpty ? FilePath(".") : parent
        do throws(Errno) {
            return try SystemCalls.open(directory, O_RDONLY | O_DIRECTORY)
        } catch {
            throw .opening(directory, .readOnly, error)
        }
    }

    /// A mistyped device name must not become a file that fills the memory behind /dev. Asked of
    /// the open directory, because links and bind mounts lead to /dev too.
    private static func refuseUnderDev(
        _ path: FilePath, _ directory: Descriptor
    ) throws(StorageError) {
        let link = FilePath("/proc/self/fd/\(directory.raw)")
        guard let resolved = try? SystemCalls.linkTarget(link),
            let found = try? SystemCalls.status(of: directory)
        else { throw .refused(.unverifiable(path: path, missing: "/proc/self/fd")) }
        let nodes = try? SystemCalls.status(at: "/dev")
        let root = try? SystemCalls.status(at: "/")
        // In a chroot, /dev may be an ordinary directory of the root filesystem.
        let isNodesFilesystem = nodes?.device == found.device && nodes?.device != root?.device
        // For files, by its purpose, if it is a filesystem of its own.
        let isShared = resolved == "/dev/shm" || resolved.hasPrefix("/dev/shm/")
        if resolved == "/dev" || resolved.hasPrefix("/dev/") && !isShared || isNodesFilesystem {
            throw .refused(.underDev(target: path))
        }
    }
}
