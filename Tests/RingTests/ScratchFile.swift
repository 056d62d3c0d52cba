import Foundation
import Glibc

/// A file for one test that nobody else sees: it has no name any more once it is open, so that
/// nothing is left behind, however the test ends.
///
/// It lives next to the build or in /var/tmp, because /tmp is often a tmpfs, where O_DIRECT means
/// nothing.
final class ScratchFile {
    let descriptor: CInt
    let isDirect: Bool

    /// What a test waits for when it says nothing else: direct, where the filesystem can.
    init(byteCount: Int = 0, direct: Bool = true) throws {
        var template = Array("\(Self.directory)/ringmirror-ring-XXXXXX".utf8CString)
        let plain = mkstemp(&template)
        guard plain >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        let path = String(decoding: template.dropLast().map { UInt8($0) }, as: UTF8.self)
        defer {
            unlink(path)
            close(plain)
        }
        guard ftruncate(plain, byteCount) == 0 else {
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
        let flags = O_RDWR | O_CLOEXEC
        let asked = direct ? open(path, flags | O_DIRECT) : -1
        isDirect = asked >= 0
        descriptor = isDirect ? asked : open(path, flags)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    }

    deinit { close(descriptor) }

    /// The same file once more, through the page cache and with other rights.
    func reopened(_ flags: CInt) throws -> CInt {
        let copy = open("/proc/self/fd/\(descriptor)", flags | O_CLOEXEC)
        guard copy >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return copy
    }

    /// Writes bytes without the ring, and down to the disk, where direct reads find them.
    func put(_ bytes: [UInt8], at offset: Int = 0) throws {
        let copy = try reopened(O_RDWR)
        defer { close(copy) }
        guard pwrite(copy, bytes, bytes.count, offset) == bytes.count, fsync(copy) == 0 else {
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
    }

    /// Reads bytes without the ring.
    func get(_ count: Int, at offset: Int = 0) throws -> [UInt8] {
        let copy = try reopened(O_RDONLY)
        defer { close(copy) }
        var bytes = [UInt8](repeating: 0xEE, count: count)
        let got = pread(copy, &bytes, count, offset)
        guard got >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return Array(bytes[..<got])
    }

    var status: stat {
        var result = stat()
        fstat(descriptor, &result)
        return result
    }

    private static let directory: String = {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        let build = root.appendingPathComponent(".build").path
        return access(build, W_OK) == 0 ? build : "/var/tmp"
    }()
}

/// Two ends of a pipe, to have something that is not readable until the test says so.
final class Pipe {
    let readEnd: CInt
    let writeEnd: CInt

    init() {
        var ends: [CInt] = [-1, -1]
        precondition(pipe(&ends) == 0)
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    func makeReadable() {
        var byte: UInt8 = 1
        precondition(write(writeEnd, &byte, 1) == 1)
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }
}
