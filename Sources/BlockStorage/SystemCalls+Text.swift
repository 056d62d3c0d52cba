internal import CLinux
import Glibc
package import SystemPackage

/// A path as system calls take it: of a file of the user, or of one of proc and sysfs, where a text
/// is made for each look and none of the parsing of `FilePath` is needed.
package protocol SystemPath {
    /// Calls `body` with the path's bytes, ended by a 0, which are there until it returns.
    func withCharacters<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result
}

extension FilePath: SystemPath {
    package func withCharacters<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        unsafe withPlatformString { unsafe body($0) }
    }
}

extension String: SystemPath {
    package func withCharacters<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        unsafe withCString { unsafe body($0) }
    }
}

// Reading text files, links and directories.

extension SystemCalls {
    /// A whole file of text, as proc and sysfs have them. Bytes that are not UTF-8 are repaired:
    /// what is compared are numbers and names that the kernel wrote.
    package static func text(at path: some SystemPath) throws(Errno) -> String {
        String(decoding: try bytes(at: path), as: UTF8.self)
    }

    /// A path of bytes as the kernel has them, which need not be UTF-8. Nil for none at all, and
    /// for what no path can hold.
    static func path(_ bytes: some Sequence<UInt8>) -> FilePath? {
        let characters = bytes.map { CChar(bitPattern: $0) }
        guard !characters.isEmpty, !characters.contains(0) else { return nil }
        return FilePath(platformString: characters + [0])
    }

    /// The bytes of a path, without the 0 that ends it.
    static func bytes(of path: FilePath) -> [UInt8] {
        unsafe path.withPlatformString { pointer in
            unsafe (0..<strlen(pointer)).map { unsafe UInt8(bitPattern: pointer[$0]) }
        }
    }

    static func bytes(at path: some SystemPath) throws(Errno) -> [UInt8] {
        let descriptor = try open(path, O_RDONLY | O_NONBLOCK)
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = unsafe Glibc.read(descriptor.raw, &chunk, chunk.count)
            if count == 0 { return content }
            if count > 0 {
                content.append(contentsOf: chunk[..<count])
            } else if errno != EINTR {
                throw Errno(rawValue: errno)
            }
        }
    }

    static func linkTarget(_ path: some SystemPath) throws(Errno) -> String {
        String(decoding: try linkTargetBytes(path), as: UTF8.self)
    }

    static func linkTargetBytes(_ path: some SystemPath) throws(Errno) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe path.withCharacters { pointer in
            unsafe ringmirror_read_link(pointer, &buffer, buffer.count)
        }
        guard count >= 0 else { throw Errno(rawValue: errno) }
        return Array(buffer[..<count])
    }

    package static func entries(of directory: some SystemPath) throws(Errno) -> [String] {
        guard let stream = unsafe directory.withCharacters({ unsafe opendir($0) }) else {
            throw Errno(rawValue: errno)
        }
        defer { unsafe _ = closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
