import Foundation
import Glibc
import TestSupport
import Testing

/// Where the targets of these tests differ: off the granules, and at both ends.
private let places: [Range<Int64>] = [
    0..<1, 3 * miB + 5..<3 * miB + 70_000, 5 * miB..<5 * miB + 4 * kiB,
]

private func damage(_ path: String, seed: UInt64 = 9) throws {
    for place in places { try Content.write(seed, to: path, place) }
}

/// Bytes of all blocks of 4 KiB that hold a difference.
private let differing = 4 * kiB + (3 * miB + 70_000 + 4095) / 4096 * 4096 - 3 * miB + 4 * kiB

extension Scratch {
    /// Runs a full mirror that writes only what differs.
    fileprivate func refresh(
        _ source: String, _ target: String, _ options: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Event {
        let end = try run(
            ["full", source, target, "--only-differences", "--overwrite", "--json"] + options)
        #expect(end.code == Code.done, "\(end)", sourceLocation: sourceLocation)
        return try end.report()
    }
}

extension Processes {
    /// Full mirrors that compare first, of files.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Differences {
        static let size = 8 * miB

        private func damaged(_ scratch: Scratch) throws -> (source: String, target: String) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 1)
            try damage(target)
            return (source, target)
        }

        @Test func `only what differs is written`() throws {
            let scratch = try Scratch()
            let (source, target) = try damaged(scratch)
            let report = try scratch.refresh(source, target)
            expectSame(source, target)
            #expect(report.text("claim") == "mirror")
            #expect(report.list("evidence").map { $0.text("code") }.contains("differencesCopied"))
            #expect(report.number("compared") == Self.size)
            #expect(report.number("differing") == differing)
            #expect(report.number("planned") == differing)
            #expect(report.number("written") == differing)
        }

        @Test func `two sides that are the same are left alone`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 1)
            let before = try Shell.run("stat", "-c", "%y %b", target)
            let report = try scratch.refresh(source, target, "--verify=all")
            #expect(report.text("claim") == "mirror")
            #expect(report.number("differing") == 0 && report.number("written") == 0)
            #expect(try Shell.run("stat", "-c", "%y %b", target) == before)
            let end = try scratch.run(
                "full", source, target, "--only-differences", "--overwrite")
            #expect(end.output.contains("nothing differed"), "\(end)")
        }

        /// Zeros are zeros, as data and as holes.
        @Test func `holes stay as they are`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            let target = try scratch.file("target", size: Self.size)
            try Content.write(1, to: source, 0..<64 * kiB)
            try Content.zeros(to: source, miB..<2 * miB)
            try Content.zeros(to: target, 4 * miB..<5 * miB)
            let allocated = try Content.allocated(target)
            let report = try scratch.refresh(source, target, "--zeroes", "write")
            expectSame(source, target)
            #expect(report.number("written") == 64 * kiB)
            #expect(try Content.allocated(target) <= allocated + 64 * kiB)
        }

        /// What was copied is read back alone, because the rest was compared before.
        @Test func `a verification of what was copied`() throws {
            let scratch = try Scratch()
            for (option, scope) in [("--verify", "copied"), ("--verify=all", "all")] {
                let (source, target) = try damaged(scratch)
                let end = try scratch.run(
                    "full", source, target, "--only-differences", "--overwrite", "--json", option)
                #expect(end.code == Code.done, "\(end)")
                let comparison = try #require(end.events.last { $0.kind == "verify" })
                #expect(comparison.text("scope") == scope)
                #expect(comparison.number("compared") == (scope == "all" ? Self.size : differing))
            }
        }

        @Test func `options that make no sense`() throws {
            let scratch = try Scratch()
            let (source, target) = try damaged(scratch)
            for option in ["--create", "--target-is-zero"] {
                let end = try scratch.run(
                    "full", source, target, "--only-differences", "--overwrite", option)
                #expect(end.code == Code.usage, "\(end)")
            }
            // What differs is lost, so that it is asked for.
            let end = try scratch.run("full", source, target, "--only-differences")
            #expect(end.code == Code.refused, "\(end)")
            let small = try scratch.image("small", size: miB, seed: 1)
            let refused = try scratch.run(
                "full", source, small, "--only-differences", "--overwrite")
            #expect(refused.code == Code.refused, "\(refused)")
            let dry = try scratch.run(
                "full", source, target, "--only-differences", "--overwrite", "--dry-run")
            #expect(dry.code == Code.done && dry.output.contains("to be compared"), "\(dry)")
        }

        @Test func `a larger target`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size + 5000, seed: 1)
            try damage(target)
            let beyond = try Content.read(target, Self.size..<Self.size + 5000)
            let report = try scratch.refresh(source, target, "--allow-larger")
            #expect(report.number("differing") == differing)
            expectSame(source, target, count: Self.size)
            #expect(try Content.read(target, Self.size..<Self.size + 5000) == beyond)
        }

        /// The bitmap is cleared, and increments go on from there.
        @Test func `a bitmap`() throws {
            let scratch = try Scratch()
            let (source, target) = try damaged(scratch)
            try scratch.bitmap("add", source, "n")
            try scratch.bitmap("mark", source, "n", "6M+1M")
            _ = try scratch.refresh(source, target, "--bitmap", "n")
            #expect(try scratch.dirtyBytes(source, "n") == 0)
            expectSame(source, target)
            try Content.write(7, to: source, miB..<miB + 4 * kiB)
            try scratch.bitmap("mark", source, "n", "1M+4K")
            let report = try scratch.increment(source, target, "--bitmap", "n")
            #expect(report.number("planned") == 64 * kiB)
            #expect(!report.list("evidence").map { $0.text("code") }.contains("notProven"))
            expectSame(source, target)
        }

        /// At each point the record lacks all that is not proven to be the same: what resumes it
        /// copies no more than that.
        @Test(.enabled(if: Needs.strace, Needs.straceReason), arguments: [false, true])
        func `killed at any call`(hasBitmap: Bool) throws {
            let scratch = try Scratch()
            let (source, target) = try damaged(scratch)
            try scratch.bitmap("add", source, "n")
            let bitmap = hasBitmap ? ["--bitmap", "n"] : []
            let full = ["full", source, target, "--overwrite"] + bitmap
            var resumed = 0
            try scratch.killed(full + ["--only-differences", "--checkpoint", "0.001"]) { replay in
                let end = try scratch.run(["full", source, target, "--resume"] + bitmap)
                if end.code == Code.done {
                    resumed += 1
                    expectSame(source, target)
                }
                try damage(target)
            }
            expectSame(source, target)
            #expect(resumed > 0 || !hasBitmap)
        }

        /// What was compared before a stop is not compared again.
        @Test(arguments: [false, true])
        func `stopped while it compares`(comparesAgain: Bool) throws {
            let scratch = try Scratch()
            let (source, target) = try damaged(scratch)
            let child = try scratch.start([
                "full", source, target, "--only-differences", "--overwrite", "--json",
                "--progress", "--speed", "2M",
            ])
            #expect(child.waitForProgress())
            child.send(SIGINT)
            let end = try child.wait()
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.output.contains("\"phase\":\"comparing\""), "\(end)")
            let report = try end.report()
            let saved = try #require(report.number("saved"))
            #expect(saved > 0 && report.number("written") == 0)
            let again = try scratch.run(
                ["full", source, target, "--resume", "--json"]
                    + (comparesAgain ? ["--only-differences"] : []))
            #expect(again.code == Code.done, "\(again)")
            let done = try again.report()
            #expect(done.text("outcome") == "mirrored")
            expectSame(source, target)
            let left = try #require(done.number(comparesAgain ? "compared" : "planned"))
            #expect(left < Self.size)
        }

        /// Who writes either side while it is compared spoils the mirror.
        @Test(arguments: [true, false])
        func `a side that is written meanwhile`(isSource: Bool) throws {
            let scratch = try Scratch()
            let (source, target) = try damaged(scratch)
            let child = try scratch.start([
                "full", source, target, "--only-differences", "--overwrite", "--json",
                "--progress", "--speed", "2M",
            ])
            #expect(child.waitForProgress())
            try Content.write(5, to: isSource ? source : target, 0..<4 * kiB)
            let end = try child.wait()
            #expect(end.code == Code.failed, "\(end)")
            let report = try end.report()
            #expect(report.text("claim") == "notAMirror")
            #expect(report.text("code") == "writtenMeanwhile", "\(end)")
            #expect(report.number("written") == 0)
        }
    }
}

extension Processes {
    /// The same with qcow2 images.
    @Suite(.serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct ImageDifferences {
        /// An overlay reads as its backing file where it has nothing, and gets only what differs.
        @Test(arguments: ["64k", "4k", "2M"])
        func `an overlay as target`(cluster: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 8 * miB, seed: 1)
            let base = try scratch.image("base", size: 8 * miB, seed: 1)
            try damage(base)
            let target = try QEMU.create(
                scratch.path("target.qcow2"), options: ["cluster_size=\(cluster)"],
                over: (base, "raw"))
            let report = try scratch.refresh(source, target, "--verify=all")
            #expect(report.number("differing") == differing)
            try QEMU.img("compare", "-q", source, target)
            try QEMU.img("check", "-q", target)
            let again = try scratch.refresh(source, target)
            #expect(again.number("differing") == 0 && again.number("written") == 0)
        }

        @Test func `an image as source`() throws {
            let scratch = try Scratch()
            let raw = try scratch.image("raw", size: 8 * miB, seed: 1)
            try Content.zeros(to: raw, 2 * miB..<3 * miB)
            let source = scratch.path("source.qcow2")
            try QEMU.img("convert", "-O", "qcow2", "-c", raw, source)
            let target = try scratch.image("target", size: 8 * miB, seed: 1)
            try Content.zeros(to: target, 2 * miB..<3 * miB)
            try damage(target)
            let report = try scratch.refresh(source, target)
            #expect(report.number("differing") == differing)
            expectSame(raw, target)
        }

        @Test func `images on both sides`() throws {
            let scratch = try Scratch()
            let raw = try scratch.image("raw", size: 8 * miB, seed: 1)
            let (source, target) = (scratch.path("s.qcow2"), scratch.path("t.qcow2"))
            try QEMU.img("convert", "-O", "qcow2", raw, source)
            try QEMU.img("convert", "-O", "qcow2", "-c", raw, target)
            try QEMU.io(
                source,
                ["write -P 7 1M 64k", "write -z -u 2M 1M", "discard 4M 128k", "write -P 8 6M 512"])
            let report = try scratch.refresh(source, target, "--verify")
            #expect(report.text("claim") == "mirror")
            try QEMU.img("compare", "-q", source, target)
            try QEMU.img("check", "-q", target)
        }
    }
}

extension Integration {
    /// The same with disks.
    @Suite(.serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct DiskDifferences {
        private func sectorsWritten(_ disk: LoopDevice) throws -> String {
            let fields = try Shell.run("cat", "/sys/block/\(disk.name)/stat").split(separator: " ")
            return String(fields[6])
        }

        @Test(arguments: [(512, 512), (4096, 4096), (512, 4096), (4096, 512)])
        func `disk to disk`(sectors: (Int, Int)) throws {
            let scratch = try Scratch()
            let source = try scratch.loop("s", size: 8 * miB, seed: 1, sectorSize: sectors.0)
            let image = try scratch.image("t", size: 8 * miB, seed: 1)
            try damage(image)
            let target = try scratch.loop(over: image, sectorSize: sectors.1)
            let report = try scratch.refresh(source.path, target.path)
            #expect(report.number("differing") == differing)
            #expect(report.number("written") == differing)
            expectSame(source.path, target.path)
            let before = try sectorsWritten(target)
            let again = try scratch.refresh(source.path, target.path)
            #expect(again.number("differing") == 0)
            #expect(try sectorsWritten(target) == before)
        }

        /// The end is off the block of the target.
        @Test(arguments: [512, 7])
        func `an image that ends inside a sector`(tail: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: 8 * miB + tail, seed: 1)
            let target = try scratch.loop("t", size: 9 * miB, seed: 1, sectorSize: 4096)
            let same = try scratch.refresh(source, target.path, "--allow-larger")
            #expect(same.number("differing") == 0)
            try Content.write(2, to: source, 8 * miB..<8 * miB + tail)
            let report = try scratch.refresh(source, target.path, "--allow-larger", "--verify=all")
            #expect(report.number("differing") == tail)
            expectSame(source, target.path, count: 8 * miB + tail)
        }
    }
}

extension Integration {
    /// The same where blocks can't be read.
    @Suite(
        .serialized, .enabled(if: Needs.fuse && Needs.loops, Needs.fuseReason),
        .timeLimit(.minutes(20)))
    struct DifferencesOfBadBlocks {
        static let size = 4 * miB
        static let bad = 2 * miB + 81 * 4096

        /// It counts as different, and is written.
        @Test(arguments: Dress.allCases)
        func `a target that can't be read in one place`(dress: Dress) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 1)
            try Content.write(9, to: image, Self.bad..<Self.bad + 4 * kiB)
            let disk = try NBDDisk.failing(image, in: scratch)
            let target = try dress.path(of: disk, in: scratch)
            try disk.set(.read, at: Self.bad)
            let report = try scratch.refresh(source, target)
            let written = try #require(report.number("written"))
            #expect(written >= 4 * kiB && written <= 512 * kiB)
            expectSame(source, image)
        }

        /// It follows the policy for the source.
        @Test(arguments: ["report", "ignore"])
        func `a source that can't be read in one place`(policy: String) throws {
            let scratch = try Scratch()
            let image = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 1)
            try Content.write(9, to: target, miB..<miB + 4 * kiB)
            let disk = try NBDDisk.failing(image, in: scratch)
            try disk.set(.read, at: Self.bad)
            let end = try scratch.run(
                "full", disk.path, target, "--only-differences", "--overwrite", "--json",
                "--on-source-error", policy)
            #expect(end.code == Code.failed, "\(end)")
            let report = try end.report()
            #expect(report.text("outcome") == "failed")
            if policy == "ignore" {
                #expect(report.failed.reduce(0) { $0 + $1.length } == 4096, "\(end)")
                expectSame(image, target)
            } else {
                #expect(end.errors.contains("offset \(Self.bad)"), "\(end)")
                #expect(report.number("written") == 0)
            }
        }
    }
}
