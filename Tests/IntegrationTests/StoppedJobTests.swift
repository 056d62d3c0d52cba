import Foundation
import TestSupport
import Testing

extension Integration {
    /// What is said when a job goes on that was stopped, and by jobs that come after it: it rests
    /// on what happened to both sides since.
    @Suite struct StoppedJobs {
        private static let size: Int64 = 8 * miB
        /// Far from what was copied when a job is stopped, and where a sample hardly ever looks.
        private static let place = 7 * miB + 5120..<7 * miB + 5632

        /// As `touch -r` does after a write, so that only the change of the inode shows it.
        private func writeUnseen(_ path: String, _ range: Range<Int64>) throws {
            try Shell.run("touch", "-r", path, path + ".time")
            try Content.write(7, to: path, range)
            try Shell.run("touch", "-r", path + ".time", path)
        }

        @Test(arguments: [SIGTERM, SIGKILL])
        func `a source whose times were set since then is told`(signal: CInt) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let command = ["full", source, scratch.path("target")]
            try scratch.interrupt(command + ["--create", "--checkpoint", "0.2"], by: signal)
            try writeUnseen(source, 4 * kiB..<4 * kiB + 512)
            let resumed = try scratch.run(command + ["--resume", "--json"])
            // Unless nothing was recorded yet, or the sample found it.
            guard resumed.code == Code.done else { return }
            let report = try resumed.report()
            #expect(report.text("claim") == "mirrorByEvidence", "\(resumed)")
            #expect(report.evidence.contains("sourceTouched"), "\(resumed)")
        }

        /// Marks tell what was written to the source where it was copied already, if all were made.
        @Test func `a full mirror that marks have kept true rests on its bitmap`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            let command = ["full", source, target, "--bitmap", "n"]
            try scratch.interrupt(command + ["--overwrite"])
            try Content.write(7, to: source, Self.place)
            try scratch.bitmap("mark", source, "n", "7M+64K")
            let report = try scratch.mirrorOnwards(command + ["--resume"])
            #expect(report.text("claim") == "mirrorByBitmap", "\(report)")
            expectSame(source, target)
        }

        @Test func `a full mirror of a source that nothing wrote rests on nothing`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            let command = ["full", source, target, "--bitmap", "n"]
            try scratch.interrupt(command + ["--overwrite"])
            let report = try scratch.mirrorOnwards(command + ["--resume"])
            #expect(report.text("claim") == "mirror", "\(report)")
        }

        /// The record is as it was: a write to the target shows still.
        @Test func `a refused resume changes nothing`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let command = ["full", source, target]
            try scratch.interrupt(command + ["--create"])
            let copied = try Content.read(target, 0..<4 * kiB)
            // All of the sample differs, and the source shows no write.
            try Shell.run("touch", "-r", target, target + ".time")
            try Content.write(9, to: target, 0..<64 * kiB)
            try Shell.run("touch", "-r", target + ".time", target)
            let refused = try scratch.run(command + ["--resume", "--json"])
            guard refused.code == Code.refused else { return }
            #expect(refused.events.last?.text("code") == "changedSinceInterrupt", "\(refused)")
            #expect(try Content.read(target, 0..<4 * kiB) != copied)
            try Content.write(1, to: target, 0..<64 * kiB)
            usleep(20_000)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
        }

        @Test func `to compare everything is a way on also with a resume`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            try Content.write(2, to: source, miB..<5 * miB)
            try scratch.bitmap("mark", source, "n", "1M+4M")
            let command = ["incremental", source, target, "--bitmap", "n"]
            try scratch.interrupt(command)
            // Written with what it has: nothing differs, and nobody knows.
            try Content.write(1, to: source, 0..<4 * kiB)
            try Content.write(1, to: target, 0..<4 * kiB)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
            let report = try scratch.mirrorOnwards(command + ["--resume", "--verify=all"])
            #expect(report.text("claim") == "mirror", "\(report)")
            expectSame(source, target)
        }

        /// The refusal of the new one has the way on.
        @Test func `an increment is begun anew where it can't be resumed`() throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            try Content.write(2, to: source, miB..<5 * miB)
            try scratch.bitmap("mark", source, "n", "1M+4M")
            let command = ["incremental", source, target, "--bitmap", "n", "--resume=auto"]
            try scratch.interrupt(command)
            try Content.write(7, to: target, Self.place)
            try scratch.expectRefused(command, "foreignWrites")
        }

        @Test func `a full mirror that compares everything copies over what differs`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let command = ["full", source, target]
            try scratch.interrupt(command + ["--create", "--checkpoint", "0.2"], by: SIGKILL)
            guard FileManager.default.fileExists(atPath: source + ".bitmaps") else { return }
            // So much that the sample finds it.
            try Content.write(7, to: target, 0..<256 * kiB)
            let resumed = try scratch.run(command + ["--resume", "--verify=all", "--json"])
            #expect(resumed.code == Code.done, "\(resumed)")
            #expect(try resumed.report().text("claim") == "mirror", "\(resumed)")
            expectSame(source, target)
        }

        /// What it had copied is worth nothing then, also where this run does not come to its end.
        @Test(arguments: ["source", "target"])
        func `a full mirror that goes on in spite of a write copies everything`(
            side: String
        ) throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            let command = ["full", source, target, "--bitmap", "n"]
            try scratch.interrupt(command + ["--overwrite"])
            try Content.write(7, to: scratch.path(side), 4 * kiB..<4 * kiB + 512)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
            try scratch.interrupt(command + ["--resume", "--verify=all"])
            // What was refused once stays in doubt, until one run has copied all.
            try scratch.mirrorOnwards(command + ["--resume"])
            expectSame(source, target)
        }

        @Test(.enabled(if: Shell.has("qemu-img")), arguments: [SIGTERM, SIGKILL])
        func `a base that is written after a stop is seen by every later job`(
            signal: CInt
        ) throws {
            let scratch = try Scratch()
            let (source, base) = try scratch.mirrored(size: Self.size)
            try Content.write(2, to: source, miB..<5 * miB)
            try scratch.bitmap("mark", source, "n", "1M+4M")
            let overlay = scratch.path("monday.qcow2")
            let command = ["incremental", source, overlay, "--bitmap", "n"]
            let making = ["--create", "--backing", base, "--backing-format", "raw"]
            try scratch.interrupt(command + making, by: signal)
            try Content.write(7, to: base, Self.place)
            try scratch.expectRefused(command + ["--resume"], "changedSinceInterrupt")
            try scratch.expectRefused(command, "halfMirror")
        }

        @Test(.enabled(if: Shell.has("qemu-img")))
        func `another file in the place of a base is not that`() throws {
            let scratch = try Scratch()
            let (source, base) = try scratch.mirrored(size: Self.size)
            try Content.write(2, to: source, miB..<2 * miB)
            try scratch.bitmap("mark", source, "n", "1M+1M")
            let command = ["incremental", source, scratch.path("monday.qcow2"), "--bitmap", "n"]
            try scratch.mirrorOnwards(
                command + ["--create", "--backing", base, "--backing-format", "raw"])
            try Shell.run("cp", "-p", base, base + ".copy")
            try Content.write(7, to: base + ".copy", Self.place)
            try Shell.run("touch", "-r", base, base + ".copy")
            rename(base + ".copy", base)
            let end = try scratch.run(command + ["--json"])
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.events.last?.text("code") == "foreignWrites", "\(end)")
            #expect(end.output.contains(base) && end.output.contains("another file"), "\(end)")
        }

        /// What was to be restored is half there, and the target may be the only whole one.
        @Test(arguments: [SIGTERM, SIGKILL])
        func `a source that is half restored is not copied over its restore`(
            signal: CInt
        ) throws {
            let scratch = try Scratch()
            let (source, target) = try scratch.mirrored(size: Self.size)
            try Content.write(2, to: source, 0..<Self.size)
            let restore = ["full", target, source, "--overwrite", "--checkpoint", "0.2"]
            try scratch.interrupt(restore, by: signal)
            let before = try Content.fingerprint(target)
            let nightly = ["full", source, target, "--overwrite", "--bitmap", "n", "--json"]
            let end = try scratch.run(nightly)
            // Killed before anything was recorded, it can't be known.
            if signal == SIGKILL, end.code == Code.done { return }
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.events.last?.text("code") == "halfMirror", "\(end)")
            #expect(try Content.fingerprint(target) == before)
            try scratch.mirrorOnwards(["full", target, source, "--resume"])
            try scratch.mirrorOnwards(["full", source, target, "--overwrite", "--bitmap", "n"])
            expectSame(source, target)
        }
    }
}
