import Foundation
import TestSupport
import Testing

/// A filesystem on a loop device, made for one test.
enum TestFilesystem: String, CaseIterable, CustomTestStringConvertible {
    case ext4, ext4Small, xfs, btrfs, tmpfs

    var testDescription: String { rawValue }

    /// Makes it and mounts it.
    func mount(in scratch: Scratch, size: Int64? = nil) throws -> String {
        if self == .tmpfs {
            return try scratch.mount("tmpfs", type: "tmpfs", options: "size=\(size ?? 160 * miB)")
        }
        let disk = try scratch.loop(size: max(size ?? 192 * miB, sizeMin))
        try make(on: disk.path)
        return try scratch.mount(disk.path)
    }

    func make(on path: String) throws {
        switch self {
        case .ext4: try Shell.run("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", path)
        case .ext4Small: try Shell.run("mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", path)
        case .xfs: try Shell.run("mkfs.xfs", "-q", "-f", path)
        case .btrfs: try Shell.run("mkfs.btrfs", "-q", "-f", "-m", "single", path)
        case .tmpfs: break
        }
    }

    private var sizeMin: Int64 {
        switch self {
        case .xfs: 320 * miB
        case .btrfs: 128 * miB
        default: 0
        }
    }

    var isAvailable: Bool {
        switch self {
        case .ext4, .ext4Small: Shell.has("mkfs.ext4")
        case .xfs: Shell.has("mkfs.xfs", "xfs_io")
        case .btrfs: Shell.has("mkfs.btrfs", "btrfs")
        case .tmpfs: true
        }
    }

    static let available = allCases.filter(\.isAvailable)
}

extension Integration {
    /// Images on the filesystems people have, their holes, and what becomes of them.
    @Suite(
        .serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct Filesystems {
        static let size = 12 * miB + 4096 + 513

        /// Data, holes long and short, zeros that were written, and an end off the block.
        private func patterned(_ path: String) throws {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
            guard truncate(path, Int(Self.size)) == 0 else { throw POSIXError(.EIO) }
            try Content.write(1, to: path, 0..<miB)
            // A hole of 1 MiB, data of one byte in it, a short hole, and small islands.
            try Content.write(1, to: path, 2 * miB + 5..<2 * miB + 6)
            for island in 0..<16 {
                let start = 3 * miB + Int64(island) * 20 * kiB
                try Content.write(1, to: path, start..<start + 4 * kiB)
            }
            try Content.zeros(to: path, 4 * miB..<7 * miB)
            try Content.write(1, to: path, 7 * miB + 100..<8 * miB)
            try Content.write(1, to: path, Self.size - 300..<Self.size)
        }

        @Test(arguments: TestFilesystem.available)
        func `holes, written zeros and garbage`(filesystem: TestFilesystem) throws {
            let scratch = try Scratch()
            let root = try filesystem.mount(in: scratch)
            let source = root + "/source"
            try patterned(source)
            for zeroes in ["detect", "holes", "write"] {
                let new = root + "/new"
                try scratch.mirror(source, new, "--create", "--zeroes", zeroes)
                expectSame(source, new)
                expectAllocation(of: new, zeroes, "new on \(filesystem)")
                let old = root + "/old"
                _ = FileManager.default.createFile(atPath: old, contents: nil)
                try Content.write(2, to: old, 0..<Self.size)
                try scratch.mirror(source, old, "--zeroes", zeroes)
                expectSame(source, old)
                expectAllocation(of: old, zeroes, "garbage on \(filesystem)")
                try FileManager.default.removeItem(atPath: new)
                try FileManager.default.removeItem(atPath: old)
            }
        }

        /// About 2.4 MiB of the source are data, 3 MiB zeros that were written.
        private func expectAllocation(of path: String, _ zeroes: String, _ what: Comment) {
            let bytes = (try? Content.allocated(path)) ?? -1
            switch zeroes {
            case "detect": #expect(bytes < 4 * miB, what)
            case "holes": #expect((5 * miB..<8 * miB).contains(bytes), what)
            default: #expect(bytes >= Self.size, what)
            }
        }

        @Test(arguments: TestFilesystem.available)
        func `a sparse image stays sparse`(filesystem: TestFilesystem) throws {
            let scratch = try Scratch()
            let root = try filesystem.mount(in: scratch)
            let source = root + "/source"
            _ = FileManager.default.createFile(atPath: source, contents: nil)
            #expect(truncate(source, Int(4096 * miB)) == 0)
            for start in [0, 1000 * miB, 4095 * miB] {
                try Content.write(1, to: source, start..<start + miB)
            }
            let target = root + "/target"
            let report = try scratch.mirror(source, target, "--create")
            expectSame(source, target, count: 8 * miB)
            expectSame(source, target, count: 8 * miB, skip: 999 * miB)
            expectSame(source, target, skip: 4090 * miB)
            #expect(try Content.size(target) == 4096 * miB)
            #expect(try Content.allocated(target) < 4 * miB)
            #expect((report.number("read") ?? 0) < 4 * miB)
        }

        @Test(arguments: ["direct", "buffered", "auto"])
        func `caches change nothing in the bytes`(cache: String) throws {
            let scratch = try Scratch()
            let root = try TestFilesystem.ext4Small.mount(in: scratch)
            let source = root + "/source"
            try patterned(source)
            let target = root + "/target"
            try Content.write(2, to: target, 0..<Self.size)
            let report = try scratch.mirror(source, target, "--cache", cache)
            expectSame(source, target)
            let isBuffered = cache == "buffered"
            #expect(report.text("sourceCache")?.hasPrefix("buffered") == isBuffered)
            #expect(report.text("targetCache")?.hasPrefix("buffered") == isBuffered)
        }

        /// ramfs knows no direct I/O.
        @Test func `a filesystem without direct I/O`() throws {
            let scratch = try Scratch()
            let root = try scratch.mount("ramfs", type: "ramfs")
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = root + "/target"
            let refused = try scratch.run("full", source, target, "--create", "--cache", "direct")
            #expect(refused.code == Code.usage, "\(refused)")
            #expect(refused.errors.contains("--cache buffered"))
            #expect(!FileManager.default.fileExists(atPath: target))
            let report = try scratch.mirror(source, target, "--create")
            #expect(report.text("targetCache")?.hasPrefix("buffered") == true)
            expectSame(source, target)
        }

        @Test func `a target that is zero needs no zeroing`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: 16 * miB)
            try Content.write(1, to: source, 4 * miB..<5 * miB)
            let disk = try scratch.loop(size: 16 * miB)
            let report = try scratch.mirror(source, disk.path, "--target-is-zero")
            #expect(report.number("skipped") == 15 * miB)
            #expect(report.number("zeroed") == 0)
            expectSame(source, disk.path)
            #expect(try Content.allocated(disk.backing) < 2 * miB)
        }

        @Test func `a preallocated target reads as zeros`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: 16 * miB)
            try Content.write(1, to: source, 4 * miB..<5 * miB)
            let target = scratch.path("target")
            try Shell.run("fallocate", "-l", "\(16 * miB)", target)
            try scratch.mirror(source, target)
            expectSame(source, target)
        }
    }
}
