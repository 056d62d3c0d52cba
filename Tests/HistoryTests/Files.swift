import Foundation
import Glibc
import TestSupport

/// What a history does to files itself, with times that tell or hide it.
///
/// Times are set by a counter: a file system's clock is too coarse to tell two writes apart that
/// come one after another, and no test should sleep. They never go back.
final class Files {
    private let folder: String
    /// In nanoseconds since 1970.
    private var clock = 1_600_000_000_000_000_000

    init(folder: String) { self.folder = folder }

    func path(_ name: String) -> String { folder + "/" + name }

    func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

    func read(_ name: String) -> [UInt8]? {
        let file = open(path(name), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        let size = lseek(file, 0, SEEK_END)
        precondition(size >= 0)
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            count = pread(file, buffer.baseAddress, size, 0)
            precondition(count == size, "\(name) can't be read: \(errno)")
        }
    }

    /// Makes a file with these bytes; zeros become holes.
    func make(_ name: String, _ bytes: [UInt8]) {
        _ = unlink(path(name))
        let file = open(path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        precondition(file >= 0, "\(name) can't be made: \(errno)")
        defer { close(file) }
        precondition(ftruncate(file, bytes.count) == 0)
        if !isSame(bytes, [UInt8](repeating: 0, count: bytes.count)) {
            put(bytes, at: 0, in: file)
        }
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

    /// All files in the folder as they are now, to go back to.
    ///
    /// - Parameter names: in the order in which they are read: what is written first comes last.
    func snapshot(_ names: [String]) -> Snapshot {
        Snapshot(
            all: Set(contents),
            files: names.compactMap { name in
                var status = stat()
                guard stat(path(name), &status) == 0, let bytes = read(name) else { return nil }
                return (name, bytes, [status.st_atim, status.st_mtim])
            })
    }

    struct Snapshot {
        fileprivate let all: Set<String>
        fileprivate let files: [(name: String, bytes: [UInt8], times: [timespec])]
    }

    /// Takes back all that happened since, as if it had not: each file keeps its inode.
    func restore(_ snapshot: Snapshot) {
        for name in contents where !snapshot.all.contains(name) { remove(name) }
        for (name, bytes, times) in snapshot.files {
            let file = open(path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            precondition(file >= 0 && ftruncate(file, bytes.count) == 0)
            defer { close(file) }
            if !isSame(read(name), bytes) { put(bytes, at: 0, in: file) }
            var times = times
            precondition(futimens(file, &times) == 0)
        }
    }

    private var contents: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    private func put(_ bytes: [UInt8], at offset: Int, in file: CInt) {
        let count = bytes.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, offset) }
        precondition(count == bytes.count)
    }

    /// Another time than any before, and a later one than the file's.
    private func tick(_ file: CInt) {
        var status = stat()
        precondition(fstat(file, &status) == 0)
        let second = 1_000_000_000
        clock = max(clock, status.st_mtim.tv_sec * second + status.st_mtim.tv_nsec) + 1
        let time = timespec(tv_sec: clock / second, tv_nsec: clock % second)
        var times = [time, time]
        precondition(futimens(file, &times) == 0)
    }
}

extension Fill {
    /// Random numbers to cut from: making new ones each time takes long in a build for debugging.
    private static let pool: [UInt8] = {
        var random = SeededGenerator(seed: 1)
        let numbers = (0..<(1 << 16)).map { _ in random.next() }
        return numbers.withUnsafeBytes { Array($0) }
    }()

    func bytes(_ count: Int) -> [UInt8] {
        guard !isZero else { return [UInt8](repeating: 0, count: count) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var start = Int(seed % UInt64(Self.pool.count))
        while bytes.count < count {
            let end = min(Self.pool.count, start + count - bytes.count)
            bytes += Self.pool[start..<end]
            // An odd stride: no two pieces of a disk are the same.
            start = (start + 4099 * 512 + 7) % Self.pool.count
        }
        return bytes
    }
}
