import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// What is said of a target at the end, and what has to be so before it is said.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Claims {
        static let size = 8 * miB

        /// A source with a bitmap, and a mirror of it.
        private func mirrored(_ scratch: Scratch) throws -> (source: String, target: String) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            return (source, target)
        }

        private func refused(
            _ scratch: Scratch, _ code: String, _ arguments: String...,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            // Loud, quiet, for programs, and again: a refusal does not wear out.
            for options in [[], ["-q"], ["--json"]] {
                let end = try scratch.run(arguments + options)
                #expect(end.code == Code.refused, "\(end)", sourceLocation: sourceLocation)
                #expect(!end.errors.isEmpty, "\(end)", sourceLocation: sourceLocation)
                guard options == ["--json"] else { continue }
                #expect(
                    try end.report().text("code") == code, "\(end)",
                    sourceLocation: sourceLocation)
            }
        }

        /// A promise that is not kept makes a copy that differs, each time the same.
        private func broken(_ scratch: Scratch) throws -> (source: String, target: String) {
            let source = try scratch.file("source", size: Self.size)
            try Content.write(1, to: source, 0..<64 * kiB)
            return (source, try scratch.image("target", size: Self.size, seed: 2))
        }

        @Test(arguments: ["--verify", "--verify=all"])
        func `a copy that reads back different is no mirror`(verify: String) throws {
            let scratch = try Scratch()
            let (source, target) = try broken(scratch)
            try scratch.bitmap("add", source, "n")
            try scratch.bitmap("mark", source, "n", "0+1M")
            for options in [[], ["--json"]] {
                let end = try scratch.run(
                    [
                        "full", source, target, "--overwrite", "--target-is-zero", "--bitmap", "n",
                        verify,
                    ] + options)
                #expect(end.code == Code.different, "\(end)")
                #expect(!end.output.contains("is a mirror"), "\(end)")
                #expect(try scratch.dirtyBytes(source, "n") == miB)
                guard options == ["--json"] else { continue }
                let report = try #require(end.events.last { $0.kind == "report" })
                #expect(report.text("outcome") == "failed", "\(end)")
                #expect(report.text("claim") == "notAMirror", "\(end)")
                let comparison = try #require(end.events.last { $0.kind == "verify" })
                #expect(comparison.flag("identical") == false, "\(end)")
            }
            // Nothing goes on from it.
            let end = try scratch.run("full", source, target, "--bitmap", "n", "--resume")
            #expect(end.code != Code.done, "\(end)")
            try scratch.mirror(source, target, "--overwrite", "--bitmap", "n", verify)
            expectSame(source, target)
            #expect(try scratch.dirtyBytes(source, "n") == 0)
        }

        @Test func `a mirror of a bitmap that is clean says so`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            let end = try scratch.run("incremental", source, target, "--bitmap", "n", "--verify")
            #expect(end.code == Code.done, "\(end)")
            #expect(end.output.contains("bitmap 'n' is clean: nothing was copied"), "\(end)")
            #expect(!end.output.contains("identical"), "\(end)")
            #expect(!end.output.contains("is a mirror"), "\(end)")
            let report = try scratch.increment(source, target, "--bitmap", "n")
            #expect(report.text("claim") == "nothingCopied")
            let all = try scratch.run(
                "incremental", source, target, "--bitmap", "n", "--verify=all")
            #expect(all.output.contains("identical: 8.0 MiB compared"), "\(all)")
        }

        /// What happens to the files while the job runs.
        enum Meanwhile: String, CaseIterable, CustomTestStringConvertible {
            case sourceWritten, sourceGrown, targetRemoved, targetReplaced, targetGrown
            case targetWritten, targetCutAndGrown, targetPunched

            var testDescription: String { rawValue }

            func happen(_ source: String, _ target: String) throws {
                switch self {
                case .sourceWritten: try Content.write(9, to: source, 0..<4 * kiB)
                case .sourceGrown: truncate(source, Int(Claims.size + miB))
                case .targetRemoved: unlink(target)
                case .targetReplaced:
                    try FileManager.default.copyItem(atPath: source, toPath: target + ".new")
                    rename(target + ".new", target)
                case .targetGrown: truncate(target, Int(Claims.size + miB))
                case .targetWritten: try Content.write(9, to: target, 0..<4 * kiB)
                case .targetCutAndGrown:
                    truncate(target, Int(4 * kiB))
                    truncate(target, Int(Claims.size))
                case .targetPunched:
                    try Shell.run("fallocate", "--punch-hole", "--length", "4096", target)
                }
            }

            var code: String {
                switch self {
                case .sourceWritten, .sourceGrown, .targetWritten, .targetGrown,
                    .targetCutAndGrown, .targetPunched:
                    "writtenMeanwhile"
                case .targetRemoved, .targetReplaced: "movedMeanwhile"
                }
            }
        }

        /// Runs a mirror in which something happens once it has begun to write.
        private func disturbed(
            _ scratch: Scratch, _ meanwhile: Meanwhile, _ source: String, _ target: String,
            _ options: [String] = []
        ) throws -> Child.End {
            let child = try scratch.start(
                [
                    "full", source, target, "--create", "--bitmap", "n", "--speed", "4M",
                    "--request-size", "256K", "--json",
                ] + options)
            let hasBegun = child.wait(until: { _ in
                (try? Content.allocated(target)).map { $0 >= 256 * kiB } ?? false
            })
            #expect(hasBegun && child.isRunning, "\(child.errors)")
            try meanwhile.happen(source, target)
            return try child.wait()
        }

        @Test(arguments: Meanwhile.allCases)
        func `a side that changes meanwhile`(_ meanwhile: Meanwhile) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            try scratch.bitmap("mark", source, "n", "0+1M")
            let end = try disturbed(scratch, meanwhile, source, scratch.path("target"))
            #expect(end.code == Code.failed, "\(end)")
            let report = try end.report()
            #expect(report.text("outcome") == "failed", "\(end)")
            #expect(report.text("code") == meanwhile.code, "\(end)")
            guard meanwhile != .sourceGrown else { return }
            #expect(try scratch.dirtyBytes(source, "n") == miB)
        }

        /// Mirrors 2 MiB more to a target, to which something happens in mid-job.
        private func disturbedIncrement(
            _ scratch: Scratch, _ source: String, _ target: String, by happen: () throws -> Void
        ) throws -> Child.End {
            try Content.write(5, to: source, 0..<2 * miB)
            try scratch.bitmap("mark", source, "n", "0+2M")
            let child = try scratch.start([
                "incremental", source, target, "--bitmap", "n", "--speed", "1M",
                "--request-size", "64K", "--json",
            ])
            // The first 64 KiB of both are the same when they were copied.
            let hasBegun = child.wait(until: { _ in
                (try? Shell.run("cmp", "-s", "-n", "65536", source, target)) != nil
            })
            #expect(hasBegun && child.isRunning, "\(child.errors)")
            try happen()
            return try child.wait()
        }

        /// A program that has it open may write by libaio, of which the kernel tells nothing.
        @Test func `a target that something else had open is a mirror with a doubt`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            let end = try disturbedIncrement(scratch, source, target) {
                try Shell.run("sh", "-c", "exec 3<>\(target)")
            }
            #expect(end.code == Code.done && end.errors.contains("libaio"), "\(end)")
            #expect(end.output.contains("targetOpened"), "\(end)")
            // It stays in doubt until all of it was compared.
            let later = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            #expect(later.output.contains("notProven"), "\(later)")
            try scratch.increment(source, target, "--bitmap", "n", "--verify=all")
            let last = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            #expect(!last.output.contains("notProven"), "\(last)")
        }

        @Test(.enabled(if: Needs.strace, Needs.straceReason))
        func `where the kernel tells of no writers the claim says so`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let blind = [
                "strace", "-f", "-o", "/dev/null", "-e", "inject=fanotify_init:error=EPERM",
                RingMirror.path,
            ]
            let end = try Child(
                blind + ["full", source, scratch.path("target"), "--create"], in: scratch
            ).wait()
            #expect(end.code == Code.done, "\(end)")
            #expect(end.output.contains("as far as can be known"), "\(end)")
            #expect(end.output.contains("would not be noticed"), "\(end)")
        }

        @Test func `a target written in mid-job lacks everything from then on`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            let end = try disturbedIncrement(scratch, source, target) {
                try Content.write(9, to: target, 6 * miB..<6 * miB + 4 * kiB)
            }
            #expect(end.code == Code.failed && end.errors.contains("process"), "\(end)")
            let report = try scratch.increment(source, target, "--bitmap", "n")
            #expect(report.number("planned") == Self.size)
            expectSame(source, target)
        }

        @Test func `a source in use makes a copy that mixes points in time`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            let end = try disturbed(
                scratch, .sourceWritten, source, scratch.path("target"), ["--allow-source-in-use"])
            #expect(end.code == Code.done, "\(end)")
            #expect(try end.report().text("claim") == "mixedPointsInTime", "\(end)")
        }

        @Test func `rotating targets each get what they lack`() throws {
            let scratch = try Scratch()
            let (source, first) = try mirrored(scratch)
            let second = scratch.path("second")
            try scratch.mirror(source, second, "--create", "--bitmap", "n")
            for (round, target) in [first, second, first, first, second].enumerated() {
                let start = Int64(round) * miB
                try Content.write(UInt64(round + 10), to: source, start..<start + 64 * kiB)
                try scratch.bitmap("mark", source, "n", "\(start)+64K")
                let report = try scratch.increment(source, target, "--bitmap", "n")
                expectSame(source, target)
                let rounds: [Int64] = [1, 2, 2, 1, 3]
                #expect(report.number("planned") == rounds[round] * 64 * kiB)
            }
        }

        @Test func `a restore onto the source is heard of`() throws {
            let scratch = try Scratch()
            let (source, backup) = try mirrored(scratch)
            let old = try scratch.image("old", size: Self.size, seed: 7)
            try scratch.mirror(old, source, "--overwrite")
            let report = try scratch.increment(source, backup, "--bitmap", "n")
            #expect(report.number("planned") == Self.size)
            expectSame(source, backup)
        }

        @Test func `a target that something else has written is refused`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Content.write(5, to: target, 3 * miB..<3 * miB + 4 * kiB)
            try refused(
                scratch, "foreignWrites", "incremental", source, target, "--bitmap", "n")
            let end = try scratch.run(
                "incremental", source, target, "--bitmap", "n", "--verify=all")
            // The comparison finds what it was, if the sample before it has not.
            #expect(end.code == Code.different || end.code == Code.refused, "\(end)")
            try scratch.mirror(source, target, "--overwrite", "--bitmap", "n")
            try scratch.increment(source, target, "--bitmap", "n")
            expectSame(source, target)
        }

        @Test func `a source that was written without a mark is refused`() throws {
            let scratch = try Scratch()
            let (source, target) = try mirrored(scratch)
            try Content.write(5, to: source, 3 * miB..<3 * miB + 4 * kiB)
            try refused(
                scratch, "unmarkedWrites", "incremental", source, target, "--bitmap", "n")
            try scratch.bitmap("diff", source, target, "--into", "n")
            try scratch.increment(source, target, "--bitmap", "n")
            expectSame(source, target)
        }

        /// A filesystem may give a new file the inode of one that was just removed.
        @Test func `a file that was made anew is another`() throws {
            let scratch = try Scratch(in: "/var/tmp")
            let (source, target) = try mirrored(scratch)
            unlink(target)
            try scratch.file("target", size: Self.size)
            try refused(scratch, "otherTarget", "incremental", source, target, "--bitmap", "n")
            try scratch.mirror(source, target, "--overwrite", "--bitmap", "n")
            unlink(source)
            try scratch.image("source", size: Self.size, seed: 3)
            let end = try scratch.run("incremental", source, target, "--bitmap", "n")
            #expect(end.code == Code.refused, "\(end)")
        }

        /// Nobody could mark what was written in between.
        @Test func `a job on a disabled bitmap is not gone on with after a write`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n", "--disabled")
            let target = scratch.path("target")
            let arguments = ["full", source, target, "--overwrite", "--bitmap", "n"]
            let child = try scratch.start(
                arguments + ["--create", "--speed", "4M", "--request-size", "256K"])
            _ = child.wait(until: { _ in
                (try? Content.allocated(target)).map { $0 >= 512 * kiB } ?? false
            })
            child.send(SIGINT)
            #expect(try child.wait().code == Code.interrupted)
            try Content.write(9, to: source, 0..<512)
            let end = try scratch.run(arguments + ["--resume"])
            #expect(end.code == Code.refused, "\(end)")
        }
    }
}
