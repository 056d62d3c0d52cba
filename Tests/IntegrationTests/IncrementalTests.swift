import Foundation
import TestSupport
import Testing

extension Scratch {
    /// Runs a bitmap command that must succeed.
    @discardableResult
    func bitmap(
        _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Child.End {
        let end = try run(["bitmap"] + arguments)
        #expect(end.code == Code.done, "\(end)", sourceLocation: sourceLocation)
        return end
    }

    /// What `bitmap show` says of a bitmap.
    func dirtyBytes(_ source: String, _ name: String) throws -> Int64? {
        try bitmap("show", source, name, "--json").report().number("dirtyBytes")
    }

    /// Runs an incremental mirror that must succeed.
    @discardableResult
    func increment(
        _ source: String, _ target: String, _ options: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Event {
        let end = try run(["incremental", source, target, "--json"] + options)
        #expect(end.code == Code.done, "\(end)", sourceLocation: sourceLocation)
        let report = try end.report()
        #expect(report.text("outcome") == "mirrored", "\(end)", sourceLocation: sourceLocation)
        return report
    }
}

extension Processes {
    /// Mirrors that move only what a bitmap or a map has dirty.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Incremental {
        static let size = 16 * miB

        /// A source with a bitmap, and its mirror.
        private func mirrored(_ scratch: Scratch) throws -> (source: String, target: String) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "nightly")
            try scratch.mirror(source, target, "--create", "--bitmap", "nightly")
            return (source, target)
        }

        @Test func `three rounds move only what has changed`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            for round in 1...3 {
                let changed = Int64(round) * miB..<Int64(round) * miB + 200 * kiB
                try Content.write(UInt64(round) + 10, to: source, changed)
                try scratch.bitmap(
                    "mark", source, "nightly", "\(changed.lowerBound)+\(changed.count)")
                #expect(try scratch.dirtyBytes(source, "nightly") == 256 * kiB)
                let end = try scratch.run(
                    "incremental", source, target, "--bitmap", "nightly", "--verify", "--json")
                #expect(end.code == Code.done && !end.errors.contains("something else"), "\(end)")
                let report = try #require(end.events.first { $0.kind == "report" })
                #expect(report.number("planned") == 256 * kiB)
                #expect(report.number("written") == 256 * kiB)
                #expect(try scratch.dirtyBytes(source, "nightly") == 0)
                expectSame(source, target)
            }
        }

        @Test func `what is clean is not touched`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Content.write(9, to: target, 5 * miB..<5 * miB + 64 * kiB)
            let map = scratch.path("map")
            try "5M 64K\n".write(toFile: map, atomically: true, encoding: .utf8)
            let command = ["incremental", source, target, "--map", map, "--verify", "--json"]
            let first = try scratch.run(command)
            #expect(first.code == Code.done, "\(first)")
            expectSame(source, target)
            let report = try #require(first.events.first { $0.kind == "report" })
            #expect(report.number("written") == 64 * kiB && report.number("zeroed") == 0)
            // What is no mirror where the map calls it unchanged is not begun on.
            try Content.write(9, to: target, 0..<Self.size)
            let other = try Content.fingerprint(target)
            let refused = try scratch.run(command)
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(refused.events.last?.text("code") == "otherContent", "\(refused)")
            #expect(try Content.fingerprint(target) == other)
        }

        /// A bitmap tells what its target lacks as long as nothing else writes there.
        @Test func `a target that was written behind the bitmap's back is refused`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Content.write(9, to: target, 0..<Self.size)
            try scratch.bitmap("mark", source, "nightly", "5M+64K")
            let before = try Content.fingerprint(target)
            for options in [["-q"], ["--verify"], ["--new-target"], ["--verify=all"]] {
                let end = try scratch.run(
                    ["incremental", source, target, "--bitmap", "nightly"] + options)
                #expect(end.code == Code.refused, "\(end)")
                #expect(try Content.fingerprint(target) == before)
            }
            try scratch.mirror(source, target, "--overwrite", "--bitmap", "nightly")
            try scratch.increment(source, target, "--bitmap", "nightly")
        }

        @Test func `dirty holes and zeros become holes of the target`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Shell.run("fallocate", "-p", "-o", "4MiB", "-l", "4MiB", source)
            try Content.zeros(to: source, 8 * miB..<12 * miB)
            try scratch.bitmap("mark", source, "nightly", "4M-12M")
            let report = try scratch.increment(source, target, "--bitmap", "nightly")
            #expect(report.number("written") == 0)
            #expect(report.number("zeroed") == 8 * miB)
            expectSame(source, target)
            #expect(try Content.allocated(target) <= 9 * miB)
        }

        @Test(arguments: ["on-success", "never", "always"])
        func `the bitmap after a success`(mode: String) throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Content.write(5, to: source, 0..<miB)
            try scratch.bitmap("mark", source, "nightly", "0-1M")
            try scratch.increment(source, target, "--bitmap", "nightly", "--bitmap-mode", mode)
            expectSame(source, target)
            #expect(try scratch.dirtyBytes(source, "nightly") == (mode == "never" ? miB : 0))
        }

        @Test func `another target is refused unless it is said to be one`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            let other = scratch.path("other")
            try Shell.run("cp", target, other)
            try Content.write(5, to: source, 0..<miB)
            try scratch.bitmap("mark", source, "nightly", "0-1M")
            let before = try Content.fingerprint(other)
            let end = try scratch.run("incremental", source, other, "--bitmap", "nightly")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("--new-target") && end.errors.contains(target), "\(end)")
            #expect(try Content.fingerprint(other) == before)
            #expect(try scratch.dirtyBytes(source, "nightly") == miB)
            try scratch.increment(source, other, "--bitmap", "nightly", "--new-target")
            expectSame(source, other)
        }

        /// A target carries the file system of its source, and that is no reason to ask.
        @Test func `the source's own signature is expected on the target`() throws {
            try #require(Shell.has("mkfs.ext4"))
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            try Shell.run("mkfs.ext4", "-q", source)
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create")
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "1M+64K")
            try scratch.increment(source, target, "--bitmap", "b")
            // The same file system made anew is not an earlier mirror.
            let foreign = try scratch.file("foreign", size: Self.size)
            try Shell.run("mkfs.ext4", "-q", foreign)
            try scratch.bitmap("add", source, "c")
            let end = try scratch.run("incremental", source, foreign, "--bitmap", "c")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("ext4"), "\(end)")
        }

        @Test func `a map of another tool is used directly`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create")
            try Content.write(5, to: source, 3 * miB..<3 * miB + 8192)
            let map = scratch.path("map")
            try "# changed\n\(3 * miB) 8192\n".write(toFile: map, atomically: true, encoding: .utf8)
            let report = try scratch.increment(source, target, "--map", map + ":ranges")
            #expect(report.number("planned") == 8192)
            expectSame(source, target)
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
        }

        @Test func `a map that does not fit is refused with its line`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let before = try Content.fingerprint(target)
            let map = scratch.path("map")
            try "0 4096\n\(Self.size) 4096\n".write(toFile: map, atomically: true, encoding: .utf8)
            let end = try scratch.run("incremental", source, target, "--map", map + ":ranges")
            #expect(end.code == Code.usage, "\(end)")
            #expect(end.errors.contains("line 2") || end.errors.contains(":2"), "\(end)")
            #expect(try Content.fingerprint(target) == before)
        }

        @Test func `bitmaps that can't be used, and options that make no sense`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try scratch.bitmap("add", source, "weekly")
            let before = try Content.fingerprint(target)
            let unknown = try scratch.run("incremental", source, target, "--bitmap", "daily")
            #expect(unknown.code == Code.usage, "\(unknown)")
            #expect(unknown.errors.contains("nightly"), "\(unknown)")
            #expect(unknown.errors.contains("weekly"), "\(unknown)")
            for arguments in [
                ["incremental", source, target],
                ["incremental", source, target, "--bitmap", "nightly", "--map", "x"],
                ["incremental", source, target, "--bitmap", "nightly", "--bitmap-mode", "maybe"],
                [
                    "full", source, target, "--overwrite", "--bitmap", "nightly", "--bitmap-mode",
                    "never",
                ],
            ] {
                let end = try scratch.run(arguments)
                #expect(end.code == Code.usage, "\(arguments): \(end)")
            }
            let none = try scratch.run("incremental", target, source, "--bitmap", "nightly")
            #expect(none.code == Code.usage, "\(none)")
            #expect(try Content.fingerprint(target) == before)
        }

        /// The source has become longer, or another file has taken its place.
        @Test func `bitmaps of another disk are refused`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Shell.run("truncate", "-s", "+1M", source)
            let resized = try scratch.run("incremental", source, target, "--bitmap", "nightly")
            #expect(resized.code == Code.refused, "\(resized)")
            try Shell.run("cp", target, source + ".new")
            try Shell.run("mv", source + ".new", source)
            let replaced = try scratch.run("incremental", source, target, "--bitmap", "nightly")
            #expect(replaced.code == Code.refused, "\(replaced)")
            #expect(replaced.errors.contains("inode"), "\(replaced)")
        }

        @Test func `a damaged store is refused and kept`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            let store = source + ".bitmaps"
            try Content.write(7, to: store, 0..<8192)
            let before = try Content.fingerprint(store)
            let end = try scratch.run("incremental", source, target, "--bitmap", "nightly")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains(store), "\(end)")
            #expect(try Content.fingerprint(store) == before)
        }

        /// Ten clusters of a very large image take no time, and no memory for what is clean.
        @Test func `a large sparse image`() throws {
            let scratch = try Scratch()
            let size: Int64 = 8 << 40
            let source = try scratch.file("source", size: size)
            let target = try scratch.file("target", size: size)
            try scratch.bitmap("add", source, "b")
            var ranges: [String] = []
            for cluster in 0..<10 {
                let offset = Int64(cluster) * (size / 16) + 64 * kiB
                try Content.write(UInt64(cluster), to: source, offset..<offset + 64 * kiB)
                ranges.append("\(offset)+64K")
            }
            #expect(try scratch.run(["bitmap", "mark", source, "b"] + ranges).code == Code.done)
            let report = try scratch.increment(source, target, "--bitmap", "b", "--verify")
            #expect(report.number("written") == 640 * kiB)
            #expect(try Content.allocated(target) < 2 * miB)
        }
    }
}
