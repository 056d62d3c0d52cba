import Glibc
import SystemPackage

/// Whole files in and out, for maps.
enum Files {
    /// Larger than any map that is worth the name, and small enough to be read at once.
    private static let bytesMax = 1 << 30

    static func exists(_ path: FilePath) -> Bool {
        unsafe path.withPlatformString { unsafe access($0, F_OK) == 0 }
    }

    /// All bytes of a file; `-` is standard input.
    static func bytes(of argument: PathArgument) throws(Errno) -> [UInt8] {
        do {
            let file =
                argument.isStandardStream
                ? FileDescriptor.standardInput
                : try FileDescriptor.open(argument.path, .readOnly)
            defer { if !argument.isStandardStream { try? file.close() } }
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                let count = try unsafe chunk.withUnsafeMutableBytes {
                    try unsafe file.read(into: $0)
                }
                if count == 0 { return bytes }
                bytes.append(contentsOf: chunk[..<count])
                guard bytes.count <= bytesMax else { throw Errno.fileTooLarge }
            }
        } catch {
            throw error as? Errno ?? .ioError
        }
    }

    /// Whether two paths lead to the same file or disk.
    static func lead(_ first: FilePath, _ second: FilePath) -> Bool {
        func find(_ path: FilePath) -> Identity? {
            var status = stat()
            guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else {
                return nil
            }
            return Identity(device: status.st_dev, inode: status.st_ino)
        }
        guard let identity = find(first) else { return false }
        return identity == find(second)
    }

    /// Whether two paths lead to the same file or disk, or would to the same new file.
    static func areSame(_ first: FilePath, _ second: FilePath) -> Bool {
        if lead(first, second) { return true }
        guard first.lastComponent == second.lastComponent else { return false }
        func folder(_ path: FilePath) -> FilePath {
            let parent = path.removingLastComponent()
            return parent.isEmpty ? "." : parent
        }
        return lead(folder(first), folder(second))
    }

    static func isWritable(_ path: FilePath) -> Bool {
        unsafe path.withPlatformString { unsafe access($0, W_OK) == 0 }
    }

    /// Whether a path leads to a block device.
    static func isDisk(_ path: FilePath) -> Bool { leads(path, to: S_IFBLK) }

    static func isDirectory(_ path: FilePath) -> Bool { leads(path, to: S_IFDIR) }

    private static func leads(_ path: FilePath, to kind: mode_t) -> Bool {
        var status = stat()
        return unsafe path.withPlatformString { unsafe stat($0, &status) } == 0
            && status.st_mode & S_IFMT == kind
    }

    /// Which file a path leads to, not following a link; nil if to none.
    static func identity(of path: FilePath) -> Identity? {
        var status = stat()
        guard unsafe path.withPlatformString({ unsafe lstat($0, &status) }) == 0 else { return nil }
        return Identity(device: status.st_dev, inode: status.st_ino)
    }

    struct Identity: Equatable {
        let device: dev_t
        let inode: ino_t
    }

    static func remove(_ path: FilePath) {
        _ = unsafe path.withPlatformString { unsafe unlink($0) }
    }
}
