import Foundation
import Glibc

/// A file that a test changes itself.
///
/// No process that another test starts meanwhile inherits the descriptor: files by Foundation are
/// not closed on exec, and a child that has one open for writing is a writer like any other.
struct TestFile: ~Copyable {
    private let descriptor: CInt

    /// Opens a file, and makes it if it is not there.
    init(_ path: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try Self.check(descriptor >= 0)
    }

    deinit { close(descriptor) }

    private static func check(_ isDone: Bool) throws {
        guard isDone else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    }

    func write(_ bytes: Data, at offset: Int = 0) throws {
        let count = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, offset) }
        try Self.check(count == bytes.count)
    }

    func byte(at offset: Int) throws -> UInt8 {
        var byte: UInt8 = 0
        try Self.check(pread(descriptor, &byte, 1, offset) == 1)
        return byte
    }

    func size() throws -> Int {
        let size = lseek(descriptor, 0, SEEK_END)
        try Self.check(size >= 0)
        return size
    }

    func truncate(to size: Int) throws { try Self.check(ftruncate(descriptor, size) == 0) }
}
