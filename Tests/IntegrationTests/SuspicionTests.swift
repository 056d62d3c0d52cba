import Foundation
import TestSupport
import Testing

extension Integration {
    /// What was seen once to be wrong with a side is not forgotten by what comes after it.
    @Suite struct Suspicion {
        private static let size: Int64 = 8 * miB

        @Test(arguments: ["full", "incremental"])
        func `a target that was written since the interrupt is not gone on with`(mode: String)
            throws
        {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            try Content.write(9, to: source, miB..<7 * miB)
            try scratch.bitmap("mark", source, "n", "1M+6M")
            let command = [mode, source, target, "--bitmap", "n"]
            try scratch.interrupt(command + (mode == "full" ? ["--overwrite"] : []))
            // One place far behind, which a sample would hardly find.
            try Content.write(7, to: target, 7 * miB..<7 * miB + 512)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
            // To compare everything is a way on, which finds it, unless the sample did before.
            let end = try scratch.run(command + ["--resume", "--verify=all"])
            if mode == "full" {
                #expect(end.code == Code.done, "\(end)")
                expectSame(source, target)
            } else {
                #expect([Code.different, Code.refused].contains(end.code), "\(end)")
            }
        }

        @Test func `a source that was written without a mark is not gone on with`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            let command = ["full", source, target, "--bitmap", "n"]
            try scratch.interrupt(command + ["--overwrite"])
            try Content.write(7, to: source, 4 * kiB..<5 * kiB)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
            // Once it is marked, all is known.
            try scratch.bitmap("mark", source, "n", "4K+1K")
            try scratch.mirrorOnwards(command + ["--resume"])
            expectSame(source, target)
        }

        @Test func `a target that was found to differ lacks everything`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            try Content.write(7, to: target, 7 * miB..<7 * miB + 512)
            let found = try scratch.run(
                "incremental", source, target, "--bitmap", "n", "--verify=all")
            // Now and then the sample before the first write finds it.
            guard found.code != Code.refused else { return }
            #expect(found.code == Code.different, "\(found)")
            let report = try scratch.increment(source, target, "--bitmap", "n", "--new-target")
            #expect(report.number("planned") == Self.size, "\(report)")
            expectSame(source, target)
        }

        /// What the caller answered for is answered for as long as the job lasts.
        @Test func `a target that was vouched for is resumed`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            // As if restored from a copy: another time, the same bytes.
            try Content.write(1, to: target, 0..<4 * kiB)
            try Content.write(1, to: source, 0..<4 * kiB)
            try Content.write(7, to: source, miB..<7 * miB)
            try scratch.bitmap("mark", source, "n", "0-7M")
            let command = ["incremental", source, target, "--bitmap", "n"]
            try scratch.expectRefused(command, "foreignWrites")
            try scratch.interrupt(command + ["--new-target"])
            try scratch.mirrorOnwards(command + ["--resume"])
            expectSame(source, target)
        }

        /// What may have been written there without a note, the record must not vouch for.
        @Test func `a target that was open elsewhere is in doubt after an interrupt`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let command = ["full", source, target]
            try scratch.interrupt(command + ["--create"], opening: target)
            let end = try scratch.run(command + ["--resume", "--json"])
            #expect(end.code == Code.done, "\(end)")
            #expect(try end.report().text("claim") == "mirrorByEvidence", "\(end)")
            #expect(end.output.contains("notProven"), "\(end)")
        }

        /// Nor is that forgotten where the job is not gone on with.
        @Test(arguments: ["on-success", "never"])
        func `a target that was open elsewhere is in doubt without a resume`(
            mode: String
        ) throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            try Content.write(7, to: source, miB..<7 * miB)
            try scratch.bitmap("mark", source, "n", "0-7M")
            let command = ["incremental", source, target, "--bitmap", "n"]
            try scratch.interrupt(command + ["--bitmap-mode", mode], opening: target)
            let end = try scratch.run(command + ["--json"])
            #expect(end.code == Code.done && end.output.contains("notProven"), "\(end)")
        }

        /// The doubt of the job makes nobody forget how it left its target.
        @Test func `a target that was open elsewhere, and written later, is not resumed`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let command = ["full", source, target]
            try scratch.interrupt(command + ["--create"], opening: target)
            try Content.write(7, to: target, 0..<4 * kiB)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
        }

        @Test(.enabled(if: Needs.root, Needs.rootReason))
        func `an opener that can't be seen is not nobody`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let child = try Child(
                [
                    "unshare", "--pid", "--fork", "--mount-proc", RingMirror.path, "full", source,
                    target, "--create", "--json", "--progress",
                ] + Interrupting.slow, in: scratch)
            #expect(child.waitForProgress())
            // Outside of its namespace, and for as long as the job runs.
            let holder = try #require(FileHandle(forUpdatingAtPath: target))
            let end = try child.wait()
            try holder.close()
            #expect(end.code == Code.done, "\(end)")
            #expect(end.output.contains("targetOpened"), "\(end)")
        }

        @Test func `a refused target does not become a known one`() throws {
            let scratch = try Scratch()
            let (source, _) = try scratch.mirrored(size: Self.size)
            let other = try scratch.image("other", size: Self.size, seed: 5)
            let command = [
                "incremental", source, other, "--bitmap", "n", "--bitmap-mode", "always",
                "--new-target",
            ]
            try scratch.expectRefused(command, "otherContent")
            let list = try scratch.run("bitmap", "show", source, "n", "--json")
            #expect(!list.output.contains(other), "\(list)")
        }

        @Test func `a mirror of what has gone away says so`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let child = try scratch.start(
                ["full", source, scratch.path("target"), "--create", "--json", "-q"]
                    + Interrupting.slow)
            #expect(child.wait(until: { $0.output.contains("start") }))
            rename(source, source + ".old")
            let end = try child.wait()
            #expect(end.code == Code.done, "\(end)")
            #expect(end.output.contains("sourceMoved"), "\(end)")
            #expect(end.errors.contains("leads to another file"), "\(end)")
        }

        @Test func `what was begun anew over what is left costs nothing else`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let command = ["full", source, target, "--create", "--resume=auto"]
            try scratch.interrupt(command)
            try Content.write(7, to: source, 0..<4 * kiB)
            try Content.write(8, to: target, 7 * miB..<8 * miB)
            let before = try Content.fingerprint(target)
            try scratch.expectRefused(command, "changedSinceInterrupt")
            #expect(try Content.fingerprint(target) == before)
            try scratch.mirrorOnwards(["full", source, target, "--overwrite", "--resume=auto"])
            expectSame(source, target)
        }
    }
}
