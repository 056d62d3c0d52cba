import Glibc
import SystemPackage

/// A directory that stays the same one, whatever becomes of the path that led to it.
final class OpenDirectory: Sendable {
    let path: FilePath
    private let descriptor: CInt
    /// The user that it belongs to.
    let owner: uid_t
    /// Whether anybody but the owner may make or remove files in it.
    let isWritableByOthers: Bool

    /// Opens a directory that is no symbolic link. Links on the way to it are followed.
    init(_ path: FilePath) throws(Errno) {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let descriptor = unsafe path.withPlatformString { unsafe open($0, flags) }
        guard descriptor >= 0 else { throw Errno(rawValue: errno) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            let code = errno
            _ = close(descriptor)
            throw Errno(rawValue: code)
        }
        self.path = path
        self.descriptor = descriptor
        owner = status.st_uid
        isWritableByOthers = status.st_mode & (S_IWGRP | S_IWOTH) != 0
    }

    deinit { _ = close(descriptor) }

    /// Makes a directory that only its owner may use. It is no failure if there is one.
    static func make(_ path: FilePath) throws(Errno) {
        guard unsafe path.withPlatformString({ unsafe mkdir($0, S_IRWXU) }) != 0 else { return }
        let code = errno
        if code != EEXIST { throw Errno(rawValue: code) }
    }

    /// The way to a file that a change of `path` does not lead elsewhere, where there is a /proc.
    func steadyPath(_ name: String) -> FilePath {
        FilePath("/proc/self/fd/\(descriptor)").appending(name)
    }

    /// The names in it; what can't be read is left out.
    var names: [String] {
        // The stream closes what it is given.
        let copy = unsafe openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return [] }
        guard let stream = unsafe fdopendir(copy) else {
            _ = close(copy)
            return []
        }
        defer { _ = unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            names.append(name)
        }
        return names
    }

    /// Which socket a name leads to; nil if to none.
    func socket(_ name: String) -> Files.Identity? {
        var status = stat()
        guard unsafe fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0,
            status.st_mode & S_IFMT == S_IFSOCK
        else { return nil }
        return Files.Identity(device: status.st_dev, inode: status.st_ino)
    }

    /// Gives a file another name, in the place of what has that.
    func rename(_ name: String, to other: String) throws(Errno) {
        guard unsafe renameat(descriptor, name, descriptor, other) == 0 else {
            throw Errno(rawValue: errno)
        }
    }

    func remove(_ name: String) { _ = unsafe unlinkat(descriptor, name, 0) }
}
