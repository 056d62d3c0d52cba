import Foundation
import Glibc
import TestSupport
import Testing

/// How a faulty image is offered: as a file, or as a block device.
enum Dress: String, CaseIterable, CustomTestStringConvertible {
    case file, disk
    var testDescription: String { rawValue }

    func path(of disk: NBDDisk, in scratch: Scratch) throws -> String {
        switch self {
        case .file: disk.path
        case .disk: try scratch.loop(over: disk.path, sectorSize: 512, directIO: true).path
        }
    }
}

extension Child {
    /// Resumes a job whose trouble is over, and waits for its end. A filesystem may have the room
    /// that was made a little later, and pause the job once more.
    fileprivate func resumeToEnd() throws -> End {
        for _ in 0..<60 where isRunning {
            send(SIGCONT)
            usleep(300_000)
        }
        return try wait(seconds: 10)
    }

    /// The job has said that it waits, and how to go on.
    fileprivate var saysHowToResume: Bool { errors.contains("kill -CONT") }
}

/// Everything outside of `hole` is the same, by cmp.
private func expectSame(
    _ first: String, _ second: String, except hole: Range<Int64>,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    expectSame(first, second, count: hole.lowerBound, sourceLocation: sourceLocation)
    expectSame(first, second, skip: hole.upperBound, sourceLocation: sourceLocation)
}

extension Integration {
    /// Blocks that can't be read or written, and what each policy makes of them.
    @Suite(
        .serialized, .enabled(if: Needs.fuse && Needs.loops, Needs.fuseReason),
        .timeLimit(.minutes(20)))
    struct BadBlocks {
        static let size = 4 * miB
        /// In the middle of a request, and of a page of 64 KiB.
        static let bad = 2 * miB + 81 * 4096

        @Test(arguments: Dress.allCases)
        func `an unreadable block fails the job`(dress: Dress) throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let source = try dress.path(of: disk, in: scratch)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try disk.set(.read, at: Self.bad)
            let end = try scratch.run("full", source, target, "--overwrite", "--json")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("reading"), "\(end)")
            #expect(end.errors.contains("offset \(Self.bad)"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(end.errors.contains("--on-source-error ignore"), "\(end)")
            let report = try end.report()
            #expect(report.text("outcome") == "failed")
            #expect(report.failed.contains { $0.side == "source" && $0.offset == Self.bad })
        }

        @Test(arguments: Dress.allCases)
        func `an unreadable block costs itself only`(dress: Dress) throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let source = try dress.path(of: disk, in: scratch)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try disk.set(.read, at: Self.bad)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--on-source-error", "ignore")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            let failed = try end.report().failed
            // A block, not a request; the fault is 4096 bytes wide.
            #expect(failed.allSatisfy { $0.side == "source" })
            #expect(failed.map(\.offset).min() == Self.bad, "\(end)")
            #expect(failed.reduce(0) { $0 + $1.length } == 4096, "\(end)")
            expectSame(image, target, except: Self.bad..<Self.bad + 4096)
        }

        @Test func `a block that can be read the second time is copied`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try disk.set(.readOnce, at: Self.bad)
            let report = try scratch.mirror(
                disk.path, target, "--on-source-error", "ignore", "--depth", "1")
            #expect(report.failed.isEmpty)
            expectSame(image, target)
        }

        @Test(arguments: Dress.allCases)
        func `stop waits until the source is mended`(dress: Dress) throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let source = try dress.path(of: disk, in: scratch)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try disk.set(.read, at: Self.bad)
            let child = try scratch.start(
                ["full", source, target, "--overwrite", "--json", "--on-source-error", "stop"])
            #expect(child.wait(until: { $0.saysHowToResume }), "\(child.errors)")
            #expect(child.errors.contains("offset \(Self.bad)"))
            #expect(child.errors.contains("kill -CONT \(child.pid)"))
            // Resumed too early, it pauses again.
            child.send(SIGCONT)
            #expect(
                child.wait(until: { $0.errors.components(separatedBy: "kill -CONT").count > 2 }),
                "\(child.errors)")
            disk.heal(.read)
            let end = try child.resumeToEnd()
            #expect(end.code == Code.done, "\(end)")
            expectSame(image, target)
        }

        @Test func `a job that waits can be stopped`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try disk.set(.read, at: Self.bad)
            let child = try scratch.start(
                ["full", disk.path, target, "--overwrite", "--on-source-error", "stop"])
            #expect(child.wait(until: { $0.saysHowToResume }))
            child.send(SIGINT)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.errors.contains("NOT a mirror"))
        }

        @Test(arguments: Dress.allCases)
        func `an unwritable block fails the job`(dress: Dress) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            try disk.set(.write, at: Self.bad)
            let end = try scratch.run("full", source, target, "--overwrite", "--json")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("writing"), "\(end)")
            #expect(end.errors.contains("offset \(Self.bad)"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(try end.report().failed.contains { $0.side == "target" })
        }

        @Test(arguments: Dress.allCases)
        func `an unwritable block costs itself only`(dress: Dress) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            try disk.set(.write, at: Self.bad)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--on-target-error", "ignore")
            #expect(end.code == Code.failed, "\(end)")
            let failed = try end.report().failed
            #expect(failed.allSatisfy { $0.side == "target" })
            #expect(failed.map(\.offset).min() == Self.bad, "\(end)")
            #expect(failed.reduce(0) { $0 + $1.length } == 4096, "\(end)")
            expectSame(source, image, except: Self.bad..<Self.bad + 4096)
        }

        @Test(arguments: ["stop", "enospc"])
        func `a full target can be waited for`(policy: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.failing(image, in: scratch)
            try disk.set(.full)
            let child = try scratch.start(
                ["full", source, disk.path, "--overwrite", "--on-target-error", policy, "--json"])
            #expect(child.wait(until: { $0.saysHowToResume }), "\(child.errors)")
            disk.heal(.full)
            let end = try child.resumeToEnd()
            #expect(end.code == Code.done, "\(end)")
            #expect((try end.report().number("retries") ?? 0) > 0)
            expectSame(source, image)
        }

        @Test func `enospc waits for space only`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.failing(image, in: scratch)
            try disk.set(.write, at: Self.bad)
            let end = try scratch.run(
                "full", source, disk.path, "--overwrite", "--on-target-error", "enospc")
            #expect(end.code == Code.failed, "\(end)")
        }

        @Test(arguments: Dress.allCases, ["report", "ignore", "stop"])
        func `a failed flush is final`(dress: Dress, policy: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            try disk.set(.flush)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--on-target-error", policy)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("flushing"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(try end.report().flag("flushed") == false)
        }

        @Test func `a comparison that can't read says so`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try NBDDisk.failing(image, in: scratch)
            try disk.set(.read, at: Self.bad)
            let end = try scratch.run("compare", disk.path, image, "--json")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("offset"), "\(end)")
            #expect(try end.report().flag("identical") == false)
        }
    }

    /// Disks and filesystems that fill up, shrink, break and go away in the middle of a job.
    @Suite(
        .serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct Breakdowns {
        static let size = 16 * miB

        /// Leaves room for about half of the target on a small filesystem.
        private func fullFilesystem(
            _ filesystem: TestFilesystem, _ scratch: Scratch
        ) throws -> (target: String, filler: String) {
            let root = try filesystem.mount(in: scratch, size: 64 * miB)
            let filler = root + "/filler"
            let free =
                Int64(
                    try Shell.run("stat", "-f", "--format=%a", root))! * Int64(
                    try Shell.run("stat", "-f", "--format=%S", root))!
            try Shell.run("fallocate", "-l", "\(free - Self.size / 2)", filler)
            let target = root + "/target"
            _ = FileManager.default.createFile(atPath: target, contents: nil)
            #expect(truncate(target, Int(Self.size)) == 0)
            return (target, filler)
        }

        static let filesystems = [TestFilesystem.ext4, .xfs, .tmpfs].filter(\.isAvailable)

        @Test(arguments: filesystems)
        func `no space for the target`(filesystem: TestFilesystem) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let (target, filler) = try fullFilesystem(filesystem, scratch)
            let end = try scratch.run("full", source, target, "--overwrite", "--json")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("No space left"), "\(end)")
            #expect(end.errors.contains("--on-target-error enospc"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            let waiting = try scratch.start(
                ["full", source, target, "--overwrite", "--on-target-error", "enospc", "--json"])
            #expect(waiting.wait(until: { $0.saysHowToResume }), "\(waiting.errors)")
            #expect(waiting.isRunning)
            #expect(unlink(filler) == 0)
            sync()
            let done = try waiting.resumeToEnd()
            #expect(done.code == Code.done, "\(done)")
            expectSame(source, target)
        }

        @Test(.enabled(if: TestFilesystem.btrfs.isAvailable))
        func `a quota`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let root = try TestFilesystem.btrfs.mount(in: scratch)
            try Shell.run("btrfs", "quota", "enable", root)
            try Shell.run("btrfs", "subvolume", "create", root + "/limited")
            try Shell.run("btrfs", "qgroup", "limit", "8M", root + "/limited")
            let target = root + "/limited/target"
            _ = FileManager.default.createFile(atPath: target, contents: nil)
            #expect(truncate(target, Int(Self.size)) == 0)
            let end = try scratch.run("full", source, target, "--overwrite")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("quota"), "\(end)")
            let waiting = try scratch.start(
                ["full", source, target, "--overwrite", "--on-target-error", "enospc", "--json"])
            #expect(waiting.wait(until: { $0.saysHowToResume }), "\(waiting.errors)")
            try Shell.run("btrfs", "qgroup", "limit", "none", root + "/limited")
            let done = try waiting.resumeToEnd()
            #expect(done.code == Code.done, "\(done)")
            expectSame(source, target)
        }

        /// The limit of `ulimit -f`, whose signal kills a program that does not expect it.
        @Test func `a limit on the size of files`() throws {
            try #require(Shell.has("prlimit"))
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let limit = ["prlimit", "--fsize=\(4 * miB)"]
            let end = try scratch.run("full", source, target, "--overwrite", prefix: limit)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            let new = scratch.path("new")
            let create = try scratch.run("full", source, new, "--create", prefix: limit)
            #expect(create.code == Code.failed, "\(create)")
            #expect(!FileManager.default.fileExists(atPath: new))
        }

        /// btrfs knows by its checksums that a block is wrong, and answers EIO for it alone.
        @Test(.enabled(if: TestFilesystem.btrfs.isAvailable))
        func `a corrupt block of btrfs`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: 128 * miB)
            try TestFilesystem.btrfs.make(on: disk.path)
            let bad = 5 * miB + 37 * 4096
            let reference = try scratch.image("reference", size: Self.size, seed: 1)
            let first = try scratch.mount(disk.path)
            try Content.write(1, to: first + "/source", 0..<Self.size)
            try Shell.run("umount", first)
            let head = Data(Content.pageHead(1, at: bad))
            let raw = try Data(
                contentsOf: URL(fileURLWithPath: disk.backing), options: .alwaysMapped)
            let position = try #require(raw.range(of: head)?.lowerBound)
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: disk.backing))
            try file.seek(toOffset: UInt64(position + 100))
            try file.write(contentsOf: Data([1, 2, 3, 4]))
            try file.close()
            try Shell.run("blockdev", "--flushbufs", disk.path)
            let root = try scratch.mount(disk.path)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let end = try scratch.run(
                "full", root + "/source", target, "--overwrite", "--json", "--on-source-error",
                "ignore")
            #expect(end.code == Code.failed, "\(end)")
            let failed = try end.report().failed
            #expect(failed.map(\.offset).min() == bad, "\(end)")
            #expect(failed.reduce(0) { $0 + $1.length } == 4096, "\(end)")
            expectSame(reference, target, except: bad..<bad + 4096)
        }

        /// Starts a mirror that takes seconds, and waits until it has done something.
        private func slow(
            _ scratch: Scratch, _ source: String, _ target: String, _ more: String...
        ) throws -> Child {
            let child = try scratch.start(
                [
                    "full", source, target, "--overwrite", "--json", "--speed", "6M",
                    "--request-size", "256K",
                ] + more)
            #expect(child.wait(until: { $0.output.contains("\"event\":\"progress\"") }))
            return child
        }

        @Test(arguments: ["source", "target"])
        func `a disk that shrinks`(side: String) throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: Self.size, seed: 1)
            let target = try scratch.loop("target", size: Self.size, seed: 2)
            let child = try slow(scratch, source.path, target.path)
            let shrinking = side == "source" ? source : target
            #expect(truncate(shrinking.backing, Int(8 * miB)) == 0)
            try Shell.run("losetup", "-c", shrinking.path)
            let end = try child.wait(seconds: 20)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("shrank"), "\(end)")
            #expect(end.errors.contains("\(8 * miB)"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
        }

        @Test func `a source image that is cut`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let child = try slow(scratch, source, target)
            #expect(truncate(source, Int(8 * miB)) == 0)
            let end = try child.wait(seconds: 20)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("shrank"), "\(end)")
        }

        /// What the job still writes makes it as long again, so that its size at the end tells
        /// nothing.
        @Test(arguments: ["uring", "threads"])
        func `a target image that is cut`(io: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let child = try slow(scratch, source, target, "--io", io)
            #expect(truncate(target, 4096) == 0)
            let end = try child.wait(seconds: 20)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("the target shrank"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
        }

        @Test(
            .enabled(if: Needs.fuse, Needs.fuseReason), arguments: Dress.allCases,
            ["source", "target"])
        func `a server that dies`(dress: Dress, side: String) throws {
            let scratch = try Scratch()
            let image = try scratch.image("served", size: Self.size, seed: 1)
            let other = try scratch.image("other", size: Self.size, seed: 2)
            let disk = try NBDDisk.filtered(image, [], [], in: scratch)
            let path = try dress.path(of: disk, in: scratch)
            let child =
                side == "source"
                ? try slow(scratch, path, other) : try slow(scratch, other, path)
            disk.kill()
            let end = try child.wait(seconds: 30)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
        }

        @Test(arguments: [TestFilesystem.ext4, .xfs].filter(\.isAvailable), ["source", "target"])
        func `a filesystem that shuts down`(filesystem: TestFilesystem, side: String) throws {
            try #require(Shell.has("xfs_io"))
            let scratch = try Scratch()
            let root = try filesystem.mount(in: scratch, size: 64 * miB)
            let inside = root + "/inside"
            try Content.write(1, to: inside, 0..<Self.size)
            let outside = try scratch.image("outside", size: Self.size, seed: 2)
            let child =
                side == "source"
                ? try slow(scratch, inside, outside) : try slow(scratch, outside, inside)
            try Shell.run("xfs_io", "-x", "-c", "shutdown -f", root)
            let end = try child.wait(seconds: 30)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
        }
    }
}
