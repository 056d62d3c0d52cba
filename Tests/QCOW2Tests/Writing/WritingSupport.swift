import BlockStorage
import Foundation
import Glibc
import SystemPackage
import TestSupport

@testable import QCOW2

/// The tools that judge what was written.
enum Judge {
    static let isInstalled = Shell.has("qemu-img", "qemu-io")

    /// Has no errors, and no leaks either unless they are allowed.
    static func check(_ path: String, allowLeaks: Bool = false) throws {
        do {
            try Shell.run("qemu-img", "check", "-f", "qcow2", path)
        } catch let failure as Shell.Failure where failure.status == 3 && allowLeaks {}
    }

    /// All bytes that an image reads as.
    static func content(_ path: String, snapshot: String? = nil) throws -> [UInt8] {
        let raw = path + ".raw-\(UInt32.random(in: 0 ... .max))"
        defer { unlink(raw) }
        let selection = snapshot.map { ["-l", "snapshot.name=\($0)"] } ?? []
        try Shell.run(
            "qemu-img", ["convert", "-f", "qcow2", "-O", "raw"] + selection + [path, raw])
        return try bytes(raw)
    }

    static func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }
}

/// A file of the file system.
final class PlainFile: ImageFile {
    let path: FilePath
    let isWritable = true
    let descriptor: CInt

    init(_ path: String) throws {
        self.path = FilePath(path)
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    }

    deinit { close(descriptor) }

    private func failure(_ call: String) -> StorageError {
        .systemCall(call: call, path: path, code: Errno(rawValue: errno))
    }

    func length() throws(StorageError) -> Int64 { Int64(lseek(descriptor, 0, SEEK_END)) }

    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let done = pread(descriptor, &bytes, count, Int(offset))
        guard done >= 0 else { throw failure("pread") }
        bytes.removeLast(count - done)
        return bytes
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        guard pwrite(descriptor, bytes, bytes.count, Int(offset)) == bytes.count else {
            throw failure("pwrite")
        }
    }

    // What the tests lose, they lose on purpose.
    func sync() throws(StorageError) {}

    func resize(to length: Int64) throws(StorageError) {
        guard ftruncate(descriptor, Int(length)) == 0 else { throw failure("ftruncate") }
    }
}

/// What an image read as before the test.
struct KnownContent: OldContent {
    var all: [UInt8] = []
    var below: [UInt8] = []
    var clusterSize = 65536

    private func piece(_ bytes: [UInt8], _ offset: Int64, _ count: Int) -> [UInt8] {
        let start = min(Int(offset), bytes.count)
        let found = Array(bytes[start..<min(start + count, bytes.count)])
        return found + [UInt8](repeating: 0, count: count - found.count)
    }

    func readBelow(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        piece(below, offset, count)
    }

    func decompress(at offset: Int64, host: Int64, length: Int) throws(StorageError) -> [UInt8] {
        piece(all, offset, clusterSize)
    }
}

/// Writes to a target as an engine does, and knows what the disk has to read as.
final class TargetDriver {
    /// Where the bytes go.
    let file: any ImageFile
    let target: QCOW2Target
    private(set) var model: [UInt8]
    private var inFlight: [(range: Range<Int64>, bytes: [UInt8], pieces: [HostExtent])] = []

    init(
        _ file: any ImageFile, content: KnownContent = KnownContent(), model: [UInt8]? = nil,
        isNew: Bool = false, alignment: Int = 512,
        growth: Int64 = 64 << 20, data: (any ImageFile)? = nil
    ) throws {
        self.file = data ?? file
        let writer = try ImageWriter(file, try Header.read(from: file), growth: growth)
        let places = TargetPlaces(
            name: "target", endpoints: [.file(0), .file(1)], alignment: alignment)
        target = try QCOW2Target(places, writer, content: content, isNew: isNew)
        self.model = model ?? [UInt8](repeating: 0, count: Int(target.size))
    }

    /// Asks for places. The bytes are on their way until `arrive`.
    func start(_ range: Range<Int64>, _ bytes: [UInt8]) throws {
        try arrive(touching: range)
        var pieces: [HostExtent] = []
        var offset = range.lowerBound
        while offset < range.upperBound {
            let extent = try target.place(at: offset, limit: range.upperBound)
            pieces.append(extent)
            offset += extent.length
        }
        inFlight.append((range, bytes, pieces))
    }

    /// Clusters of which a write has failed.
    private var spoiled: Set<Int64> = []

    /// Whoever fails to write a part of a cluster has to write all of it again.
    func widened(_ range: Range<Int64>) -> Range<Int64> {
        let unit = target.unit
        let clusters = (range.lowerBound / unit)...((range.upperBound - 1) / unit)
        guard clusters.contains(where: { spoiled.contains($0) }) else { return range }
        return (clusters.lowerBound * unit)..<min((clusters.upperBound + 1) * unit, target.size)
    }

    /// Asks for places to which nothing will come.
    func abandon(_ range: Range<Int64>) throws {
        try arrive(touching: range)
        spoiled.formUnion(
            (range.lowerBound / target.unit)...((range.upperBound - 1) / target.unit))
        _ = try target.place(at: range.lowerBound, limit: range.upperBound)
    }

    private func arrive(touching range: Range<Int64>) throws {
        while let index = inFlight.firstIndex(where: { $0.range.overlaps(range) }) {
            try arrive(index)
        }
    }

    func arriveAny(_ random: inout SeededGenerator) throws {
        guard !inFlight.isEmpty else { return }
        try arrive(Int.random(in: 0..<inFlight.count, using: &random))
    }

    func arriveAll() throws {
        while !inFlight.isEmpty { try arrive(0) }
    }

    private func arrive(_ index: Int) throws {
        let write = inFlight.remove(at: index)
        var done = 0
        for piece in write.pieces {
            let bytes = Array(write.bytes[done..<(done + Int(piece.length))])
            try file.write(bytes, at: piece.hostOffset)
            let start = write.range.lowerBound + Int64(done)
            target.wrote(start..<(start + piece.length))
            done += Int(piece.length)
        }
        model.replaceSubrange(
            Int(write.range.lowerBound)..<Int(write.range.upperBound), with: write.bytes)
    }

    /// - Returns: the bytes done.
    @discardableResult
    func zero(_ range: Range<Int64>) throws -> Int64 {
        try arrive(touching: range)
        let done = try target.zeroInMap(range)
        let end = range.lowerBound + done
        model.replaceSubrange(
            Int(range.lowerBound)..<Int(end), with: [UInt8](repeating: 0, count: Int(done)))
        return done
    }

    func commit(isFinal: Bool = false) throws {
        if isFinal { try arriveAll() }
        target.seal()
        try file.sync()
        try target.commit(isFinal: isFinal)
    }
}
