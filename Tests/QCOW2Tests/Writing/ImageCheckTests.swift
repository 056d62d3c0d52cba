import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// What is looked at before an image is written, with `qemu-img check` as the judge.
@Suite(.enabled(if: Qemu.isInstalled, Qemu.why))
struct ImageCheckTests {
    static let layouts: [[String]] = [
        ["cluster_size=512", "refcount_bits=16"], ["cluster_size=4096", "refcount_bits=2"],
        ["cluster_size=4096", "compat=0.10"], ["cluster_size=16384", "extended_l2=on"],
        ["cluster_size=4096", "refcount_bits=64"], ["cluster_size=65536", "refcount_bits=8"],
        ["cluster_size=2M", "refcount_bits=32"], ["cluster_size=512", "refcount_bits=1"],
        ["cluster_size=4096", "refcount_bits=4"],
        ["cluster_size=16384", "extended_l2=on", "refcount_bits=1"],
        ["cluster_size=65536", "extended_l2=on", "refcount_bits=64"],
        ["cluster_size=4096", dataFile], ["cluster_size=4096", dataFile, "data_file_raw=on"],
        ["cluster_size=16384", "extended_l2=on", dataFile, "refcount_bits=32"],
    ]
    /// The data are in a file of their own, beside the image.
    private static let dataFile = "data_file"

    /// What the check says of an image; nil: nothing.
    private func problem(
        of path: String, _ broken: ImageWriter.BrokenBitmaps = .refused
    ) throws -> ImageProblem? {
        let file = try PlainFile(path)
        do {
            // As every writer does, the tables that lead to all others are read first.
            let header = try Header.read(from: file)
            _ = try Layer(header, file: file)
            _ = try ImageWriter(file, header, brokenBitmaps: broken)
            return nil
        } catch StorageError.image(let problem) {
            return problem
        }
    }

    private func make(
        _ path: String, _ layout: [String], _ random: inout SeededGenerator
    ) throws {
        let options = layout.map { $0 == Self.dataFile ? "data_file=\(path).data" : $0 }
        try Qemu.create(path, size: 1 << 20, options)
        let hasBitmaps = !layout.contains("compat=0.10")
        // A snapshot shares every cluster, and the format has none of data files.
        let snapshotsMax =
            layout.contains("refcount_bits=1") || layout.contains(Self.dataFile)
            ? 0 : layout.contains("refcount_bits=2") ? 1 : 2
        // Many compressed clusters are in one, more than small counts can have with snapshots; and
        // QEMU writes none where something is.
        if snapshotsMax > 1, !layout.contains("refcount_bits=4"),
            !layout.contains("cluster_size=2M")
        {
            try Qemu.io(path, ["write -c -P 1 0k 64k", "write -c -P 2 192k 128k"])
        }
        for step in 0..<4 {
            try Qemu.io(path, Self.history(&random))
            if step == 1, snapshotsMax > 0 {
                try Shell.run("qemu-img", "snapshot", "-c", "one", path)
            }
            if step == 1, hasBitmaps {
                for name in ["marks", "more"] {
                    try Shell.run("qemu-img", "bitmap", "--add", "-g", "4096", path, name)
                }
            }
            if step == 2, snapshotsMax > 1 {
                try Shell.run("qemu-img", "snapshot", "-c", "two", path)
                if random.chance(percent: 50) {
                    try Shell.run("qemu-img", "snapshot", "-d", "one", path)
                }
            }
        }
    }

    private static func history(_ random: inout SeededGenerator) -> [String] {
        (0..<6).map { _ in
            let offset = Int.random(in: 0..<120, using: &random) * 8
            let length = Int.random(in: 1...4, using: &random) * 2
            let pattern = Int.random(in: 1..<255, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: return "write -z \(offset)k \(length)k"
            case 1: return "discard \(offset)k \(length)k"
            default: return "write -P \(pattern) \(offset)k \(length)k"
            }
        }
    }

    @Test(arguments: layouts)
    func `whatever QEMU calls sound is written`(_ layout: [String]) throws {
        var random = RandomTest.generator(defaultSeed: 11)
        let scratch = try Scratch()
        for round in 0..<3 {
            let path = scratch.path("\(round).qcow2")
            try make(path, layout, &random)
            #expect(try problem(of: path) == nil, "\(random.replay)")
        }
    }

    @Test func `compressed clusters, which share theirs, are sound`() throws {
        let scratch = try Scratch()
        for (name, options) in [("a", "cluster_size=64k"), ("b", "cluster_size=512,compat=0.10")] {
            let raw = scratch.path("\(name).raw")
            try Data((0..<(300 << 10)).map { UInt8(truncatingIfNeeded: $0 / 700) })
                .write(to: URL(fileURLWithPath: raw))
            let path = scratch.path("\(name).qcow2")
            try Shell.run(
                "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, path)
            try Qemu.io(path, ["write -P 9 64k 10k"])
            try Shell.run("qemu-img", "snapshot", "-c", "one", path)
            try Qemu.io(path, ["write -P 10 96k 10k"])
            #expect(try problem(of: path) == nil)
        }
    }

    @Test func `metadata that was preallocated, and data in a file of its own, are sound`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        for options in [
            ["preallocation=metadata"], ["preallocation=full", "cluster_size=4096"],
            ["preallocation=falloc", "extended_l2=on"],
            ["data_file=\(scratch.path("data"))", "data_file_raw=on"],
        ] {
            try Qemu.create(path, size: 3 << 20, options)
            #expect(try problem(of: path) == nil, "\(options)")
            try FileManager.default.removeItem(atPath: path)
        }
    }

    @Test(arguments: layouts)
    func `what QEMU calls an error is not written, and nothing else is refused`(_ layout: [String])
        throws
    {
        var random = RandomTest.generator(defaultSeed: 12)
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try make(path, layout, &random)
        let good = try Qemu.read(path)
        let damage = try Damage(PlainFile(path))
        var refused = 0
        for _ in 0..<RandomTest.events(default: 60) {
            let (bytes, what) = damage.apply(to: good, &random)
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let found = try problem(of: path)
            let verdict = Verdict(path)
            if found != nil { refused += 1 }
            switch verdict {
            case .sound:
                // QEMU passes over entries that the format doesn't have. Data over a table may be
                // counted as it is used, and is no less dangerous.
                let isKnown = found.map {
                    $0.kind == .malformed || $0.what.contains("over a table")
                }
                #expect(isKnown ?? true, "\(what): \(found?.what ?? ""), \(random.replay)")
            case .harmful(let text):
                #expect(found != nil, "\(what): \(text), \(random.replay)")
            case .other: break
            }
        }
        #expect(refused > 0, "nothing was damaged, \(random.replay)")
    }

    @Test func `a refusal says how to mend the image, before anything was written`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 64 << 20)
        try Qemu.io(path, ["write -P 1 0 64k"])
        var bytes = try Qemu.read(path)
        bytes.put(UInt16(0), at: 131072 + 10)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let found = try #require(try problem(of: path))
        #expect(found.kind == .refused && found.offset == 5 * 65536)
        #expect(found.remedy.description.contains("qemu-img check -r all \(path)"))
        #expect(try Qemu.read(path) == bytes)
        try Shell.run("qemu-img", "check", "-q", "-r", "all", path)
        #expect(try problem(of: path) == nil)
    }

    @Test func `a broken bitmap keeps the disk from being written, and can be removed`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 4 << 20)
        try Shell.run("qemu-img", "bitmap", "--add", path, "b")
        var bytes = try Qemu.read(path)
        let file = try PlainFile(path)
        let directory = try BitmapDirectory.read(Header.read(from: file), file)
        bytes.put(UInt64(1) << 61, at: Int(directory.entries[0].tableOffset))
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        #expect(try problem(of: path)?.what.contains("bitmap 'b' is broken") == true)
        #expect(try problem(of: path, .passed) == nil)
        let writer = try ImageWriter(file, Header.read(from: file), brokenBitmaps: .passed)
        try ImageBitmaps(writer).removeAll()
        #expect(try problem(of: path) == nil)
    }

    @Test func `a bitmap's cluster counted as free is refused also where bitmaps change`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 4 << 20)
        try Shell.run("qemu-img", "bitmap", "--add", path, "b")
        let file = try PlainFile(path)
        let header = try Header.read(from: file)
        let directory = try BitmapDirectory.read(header, file)
        let cluster = Int64(directory.entries[0].tableOffset) / header.clusterSize
        try file.write([0, 0], at: 2 * header.clusterSize + cluster * 2)
        #expect(try problem(of: path, .passed)?.kind == .refused)
    }

    @Test func `a sparse file of any length costs no more than its tables`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 1 << 40, ["cluster_size=65536"])
        try Qemu.io(path, ["write -P 1 0 64k", "write -P 1 800G 64k"])
        let file = try PlainFile(path)
        try file.resize(to: 1 << 42)
        let counted = CountedFile(file)
        let header = try Header.read(from: counted)
        let before = counted.bytesRead
        _ = try ImageWriter(counted, header)
        // The L1 table (16 KiB) twice, two L2 tables, and refcounts.
        #expect(counted.bytesRead - before < 1 << 20)
    }
}

/// What `qemu-img check` makes of an image.
private enum Verdict {
    case sound
    /// It has errors that matter to whoever writes the image.
    case harmful(String)
    /// It can't be checked, or has only entries that could say "used by nothing else" and don't.
    case other

    init(_ path: String) {
        do {
            try Shell.run("qemu-img", "check", "-f", "qcow2", path)
            self = .sound
        } catch let failure as Shell.Failure where failure.status == 3 {
            self = .sound
        } catch let failure as Shell.Failure where failure.status == 2 {
            let errors = failure.output.split(separator: "\n").filter { line in
                line.hasPrefix("ERROR")
                    && !(line.contains("OFLAG_COPIED") && line.hasSuffix("refcount=1"))
            }
            self = errors.isEmpty ? .other : .harmful(errors.joined(separator: "; "))
        } catch {
            self = .other
        }
    }
}

/// Changes numbers in the tables of an image.
private struct Damage {
    private let header: Header
    private var places: [(offset: Int, what: String)] = []
    private var hosts: [UInt64] = []

    init(_ file: any ImageFile) throws {
        header = try Header.read(from: file)
        let refcounts = try Refcounts(file: file, header: header)
        let cluster = Int(header.clusterSize)
        for offset in refcounts.table where offset != 0 {
            for _ in 0..<3 { places.append((Int(offset), "refcounts")) }
        }
        let snapshots =
            header.snapshotCount > 0 ? try SnapshotTable(header, in: file).snapshots : []
        for snapshot in snapshots { places.append((Int(snapshot.l1Offset), "snapshot L1")) }
        places.append((Int(header.l1Offset), "L1"))
        for bitmap in try BitmapDirectory.read(header, file).entries {
            places.append((Int(bitmap.tableOffset), "bitmap table"))
            let table = try BitmapTable.read(of: bitmap, header, file)
            hosts += table.entries.compactMap { BitmapTable.cluster($0) }.map { UInt64($0) }
        }
        for table in try L2References(header, file, snapshots).sorted() {
            hosts.append(UInt64(table.offset))
            // Data in a file of their own are never written, so that nobody asks where they are.
            guard !header.incompatible.contains(.dataFile) else { continue }
            for _ in 0..<2 { places.append((Int(table.offset), "L2")) }
        }
        hosts += (0..<(try file.length() / Int64(cluster))).map { UInt64($0) * UInt64(cluster) }
    }

    func apply(to good: [UInt8], _ random: inout SeededGenerator) -> ([UInt8], String) {
        var bytes = good
        let (start, what) = places[Int.random(in: 0..<places.count, using: &random)]
        // Tables are mostly full at their beginning.
        let words = min(Int(header.clusterSize), good.count - start) / 8
        let used = (0..<words).filter { bytes.bigEndian64(at: start + $0 * 8) != 0 }
        guard !used.isEmpty else { return (bytes, "nothing") }
        let offset = start + used[Int.random(in: 0..<used.count, using: &random)] * 8
        let word = bytes.bigEndian64(at: offset)
        let host = hosts[Int.random(in: 0..<hosts.count, using: &random)]
        let new: UInt64
        switch Int.random(in: 0..<5, using: &random) {
        case 0 where what != "refcounts": new = word & ~EntryBits.offset | host
        case 1 where what != "refcounts": new = host | EntryBits.copied
        case 2: new = word ^ 1 << 63
        case 3: new = 0
        default: new = word ^ 1 << UInt64.random(in: 0..<64, using: &random)
        }
        bytes.put(new, at: offset)
        return (
            bytes, "\(what) at \(offset): \(String(word, radix: 16)) → \(String(new, radix: 16))"
        )
    }
}

/// Counts what is read of a file.
private final class CountedFile: ImageFile, @unchecked Sendable {
    private let file: any ImageFile
    private(set) var bytesRead = 0

    init(_ file: any ImageFile) { self.file = file }

    var path: FilePath { file.path }
    var isWritable: Bool { true }
    func length() throws(StorageError) -> Int64 { try file.length() }
    func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        let bytes = try file.read(at: offset, count: count)
        bytesRead += bytes.count
        return bytes
    }
    func write(_ bytes: [UInt8], at offset: Int64) throws(StorageError) {
        try file.write(bytes, at: offset)
    }
    func sync() throws(StorageError) { try file.sync() }
    func resize(to length: Int64) throws(StorageError) { try file.resize(to: length) }
}
