import Foundation
import Glibc
import TestSupport

/// What a history does to files itself, with times that tell or hide it.
///
/// Times are set by a counter: a file system's clock is too coarse to tell two writes apart that
/// come one after another, and no test should sleep.
final class Files {
    private let folder: String
    private var clock = 1_600_000_000

    init(folder: String) { self.folder = folder }

    func path(_ name: String) -> String { folder + "/" + name }

    func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

    func read(_ name: String) -> [UInt8]? {
        FileManager.default.contents(atPath: path(name)).map { Array($0) }
    }

    /// Makes a file with these bytes; zeros become holes.
    func make(_ name: String, _ bytes: [UInt8]) {
        _ = unlink(path(name))
        let file = open(path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        precondition(file >= 0, "\(name) can't be made: \(errno)")
        defer { close(file) }
        precondition(ftruncate(file, bytes.count) == 0)
        if bytes.contains(where: { $0 != 0 }) { put(bytes, at: 0, in: file) }
        tick(file)
    }

    func write(_ name: String, _ bytes: [UInt8], at offset: Int, _ trace: Trace) {
        let file = open(path(name), O_RDWR | O_CLOEXEC)
        precondition(file >= 0, "\(name) can't be written: \(errno)")
        defer { close(file) }
        var before = stat()
        precondition(fstat(file, &before) == 0)
        put(bytes, at: offset, in: file)
        if trace == .visible { return tick(file) }
        var times = [before.st_atim, before.st_mtim]
        precondition(futimens(file, &times) == 0)
    }

    func resize(_ name: String, _ size: Int) {
        let file = open(path(name), O_RDWR | O_CLOEXEC)
        precondition(file >= 0 && ftruncate(file, size) == 0)
        defer { close(file) }
        tick(file)
    }

    func remove(_ name: String) { _ = unlink(path(name)) }

    func rename(_ name: String, to other: String) {
        precondition(Glibc.rename(path(name), path(other)) == 0)
    }

    private func put(_ bytes: [UInt8], at offset: Int, in file: CInt) {
        let count = bytes.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, offset) }
        precondition(count == bytes.count)
    }

    /// Another time than any before.
    private func tick(_ file: CInt) {
        clock += 1
        var times = [timespec(tv_sec: clock, tv_nsec: 7), timespec(tv_sec: clock, tv_nsec: 7)]
        precondition(futimens(file, &times) == 0)
    }
}

extension Fill {
    /// Random numbers to cut from: making new ones each time takes long in a build for debugging.
    private static let pool: [UInt8] = {
        var random = SeededGenerator(seed: 1)
        return (0..<(1 << 18)).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
    }()

    func bytes(_ count: Int) -> [UInt8] {
        precondition(count <= 1 << 20, "more than there are random numbers")
        guard !isZero else { return [UInt8](repeating: 0, count: count) }
        let start = Int(seed % UInt64(Self.pool.count - count + 1))
        return Array(Self.pool[start..<start + count])
    }
}
