import Glibc
internal import SystemPackage

/// An image file that this process has just made.
struct NewImage {
    let opened: OpenedObject
    private let directory: Descriptor
    private let name: FilePath

    /// Readable and writable by its owner alone: an image holds all that the disk held.
    private static let mode: UInt32 = 0o600

    /// Makes the file at `path`, of this length and durable in its directory.
    ///
    /// - Returns: nil if there is something at `path` that is to be opened as it is.
    static func create(
        _ path: FilePath, size: Int64, options: TargetOptions
    ) throws(StorageError) -> NewImage? {
        try PathText.check(path)
        do throws(Errno) {
            _ = try SystemCalls.status(at: path)
            guard options.create else { return nil }
            throw Errno.fileExists
        } catch .fileExists {
            throw .refused(.alreadyExistsForCreate(target: path))
        } catch {
            guard error == .noSuchFileOrDirectory else { throw .opening(path, .readWrite, error) }
        }
        let directory = try openDirectory(of: path)
        try refuseUnderDev(path, directory)
        guard options.create else { throw .refused(.missingWithoutCreate(target: path)) }
        guard let component = path.lastComponent, component.kind == .regular else {
            throw .notFound(path: path)
        }
        let name = FilePath(root: nil, [component])
        let descriptor: Descriptor
        do throws(Errno) {
            descriptor = try SystemCalls.open(
                name, O_RDWR | O_CREAT | O_EXCL | O_NOCTTY, mode: mode, in: directory.raw)
        } catch .fileExists {
            throw .refused(.alreadyExistsForCreate(target: path))
        } catch {
            throw .opening(path, .readWrite, error)
        }
        return try stretch(descriptor, path, name, directory, to: size)
    }

    private static func stretch(
        _ descriptor: Descriptor, _ path: FilePath, _ name: FilePath, _ directory: Descriptor,
        to size: Int64
    ) throws(StorageError) -> NewImage {
        do throws(StorageError) {
            do throws(Errno) {
                try SystemCalls.truncate(descriptor, to: size)
                try SystemCalls.sync(descriptor)
                try SystemCalls.sync(directory)
            } catch {
                throw .systemCall(call: "making the image", path: path, code: error)
            }
            let opened = try OpenedObject(
                path: path, kind: .image, descriptor: descriptor, expected: nil, isClaimed: true,
                writers: .none)
            return NewImage(opened: opened, directory: directory, name: name)
        } catch {
            try? SystemCalls.unlink(name, in: directory)
            throw error
        }
    }

    /// Takes the file away again, in the directory where it was made, if it still has its name
    /// there.
    func remove() {
        guard let found = try? SystemCalls.status(of: name, in: directory),
            found.identity == opened.status.identity
        else { return }
        try? SystemCalls.unlink(name, in: directory)
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
        if resolved == "/dev" || resolved.hasPrefix("/dev/") || isNodesFilesystem {
            throw .refused(.underDev(target: path))
        }
    }
}
