import Foundation
import Glibc
import TestSupport
import Testing

let kiB: Int64 = 1 << 10
let miB: Int64 = 1 << 20

/// Bytes that tell where they belong: random, and each page begins with its seed and its offset, so
/// that a page in the wrong place is as wrong as a damaged one.
enum Content {
    static func write(_ seed: UInt64, to path: String, _ range: Range<Int64>) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        var block = random(seed)
        var start = range.lowerBound / miB * miB
        while start < range.upperBound {
            stamp(&block, seed, at: start)
            let from = max(start, range.lowerBound)
            let end = min(start + miB, range.upperBound)
            try block.withUnsafeBytes { bytes in
                var position = from
                while position < end {
                    let count = pwrite(
                        descriptor, bytes.baseAddress! + Int(position - start),
                        Int(end - position), off_t(position))
                    guard count > 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
                    position += Int64(count)
                }
            }
            start += miB
        }
        guard fsync(descriptor) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    }

    /// What a page of `write` begins with.
    static func pageHead(_ seed: UInt64, at offset: Int64) -> [UInt8] {
        withUnsafeBytes(of: seed.littleEndian, Array.init)
            + withUnsafeBytes(of: offset.littleEndian, Array.init)
    }

    private static func random(_ seed: UInt64) -> [UInt64] {
        var generator = SeededGenerator(seed: seed)
        return (0..<Int(miB) / 8).map { _ in generator.next() | 1 }
    }

    private static func stamp(_ block: inout [UInt64], _ seed: UInt64, at start: Int64) {
        for page in stride(from: 0, to: block.count, by: 512) {
            block[page] = seed
            block[page + 1] = UInt64(start) + UInt64(page) * 8
        }
    }

    static func zeros(to path: String, _ range: Range<Int64>) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.seek(toOffset: UInt64(range.lowerBound))
        try file.write(contentsOf: Data(count: range.count))
        try file.synchronize()
        try file.close()
    }

    static func read(_ path: String, _ range: Range<Int64>) throws -> Data {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        defer { try? file.close() }
        try file.seek(toOffset: UInt64(range.lowerBound))
        return try file.read(upToCount: range.count) ?? Data()
    }

    /// A fingerprint of all bytes, by a tool that is not ours.
    static func fingerprint(_ path: String) throws -> String {
        dropCache(path)
        return try Shell.run("sha256sum", path).split(separator: " ").first.map(String.init) ?? ""
    }

    static func size(_ path: String) throws -> Int64 {
        if path.hasPrefix("/dev/") {
            return Int64(try Shell.run("blockdev", "--getsize64", path)) ?? -1
        }
        return try status(path).st_size.asInt64
    }

    /// Bytes that a file takes on its filesystem.
    static func allocated(_ path: String) throws -> Int64 {
        try status(path).st_blocks.asInt64 * 512
    }

    /// Bytes of a file that are no hole.
    static func dataBytes(_ path: String) throws -> Int64 {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        var (sum, end): (Int64, off_t) = (0, 0)
        while case let start = lseek(descriptor, end, SEEK_DATA), start >= 0 {
            end = lseek(descriptor, start, SEEK_HOLE)
            sum += Int64(end - start)
        }
        return sum
    }

    private static func status(_ path: String) throws -> stat {
        var status = stat()
        guard stat(path, &status) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return status
    }

    /// What the page cache has of a disk proves nothing about the disk.
    fileprivate static func dropCache(_ path: String) {
        if path.hasPrefix("/dev/") { _ = try? Shell.run("blockdev", "--flushbufs", path) }
    }
}

extension FixedWidthInteger {
    fileprivate var asInt64: Int64 { Int64(self) }
}

/// Compares with cmp, which is not ours: all bytes and the size, or the first `count`.
func expectSame(
    _ first: String, _ second: String, count: Int64? = nil, skip: Int64 = 0,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    for path in [first, second] { Content.dropCache(path) }
    var arguments = [first, second, String(skip), String(skip)]
    if let count { arguments = ["-n", String(count)] + arguments }
    do {
        try Shell.run("cmp", arguments)
    } catch {
        Issue.record("\(error)", sourceLocation: sourceLocation)
    }
}

extension Scratch {
    /// An image full of data.
    @discardableResult
    func image(_ name: String, size: Int64, seed: UInt64) throws -> String {
        let path = try file(name, size: size)
        try Content.write(seed, to: path, 0..<size)
        return path
    }

    /// A loop device full of data.
    func loop(
        _ name: String, size: Int64, seed: UInt64, sectorSize: Int = 512, directIO: Bool = false
    ) throws -> LoopDevice {
        try loop(
            over: image(name, size: size, seed: seed), sectorSize: sectorSize, directIO: directIO)
    }

    /// Runs a full mirror that must succeed.
    @discardableResult
    func mirror(
        _ source: String, _ target: String, _ options: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Event {
        let end = try run(["full", source, target, "--overwrite", "--json"] + options)
        #expect(end.code == Code.done, "\(end)", sourceLocation: sourceLocation)
        let report = try end.report()
        #expect(report.text("outcome") == "mirrored", "\(end)", sourceLocation: sourceLocation)
        #expect(report.flag("flushed") == true, sourceLocation: sourceLocation)
        return report
    }

    /// A source, and a target that its bitmap `n` knows as a mirror.
    func mirrored(size: Int64) throws -> (source: String, target: String) {
        let source = try image("source", size: size, seed: 1)
        let target = path("target")
        try bitmap("add", source, "n")
        try mirror(source, target, "--create", "--bitmap", "n")
        return (source, target)
    }
}
