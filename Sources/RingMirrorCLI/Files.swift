import Glibc
import SystemPackage

/// Whole files in and out, for maps.
enum Files {
    /// Larger than any map that is worth the name, and small enough to be read at once.
    private static let bytesMax = 1 << 30

    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// All bytes of a file; `-` is standard input.
    static func bytes(of path: String) throws(Errno) -> [UInt8] {
        do {
            let file =
                path == "-"
                ? FileDescriptor.standardInput
                : try FileDescriptor.open(FilePath(path), .readOnly)
            defer { if path != "-" { try? file.close() } }
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

    /// Writes a new file, or over an old one if that is wanted; `-` is standard output.
    static func write(_ bytes: [UInt8], to path: String, overwrite: Bool) throws(Errno) {
        do {
            guard path != "-" else {
                try FileDescriptor.standardOutput.writeAll(bytes)
                return
            }
            let file = try FileDescriptor.open(
                FilePath(path), .writeOnly,
                options: overwrite ? [.create, .truncate] : [.create, .exclusiveCreate],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            try file.closeAfter { _ = try file.writeAll(bytes) }
        } catch {
            throw error as? Errno ?? .ioError
        }
    }
}
