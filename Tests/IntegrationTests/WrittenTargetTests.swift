import Foundation
import TestSupport
import Testing

extension Integration {
    /// A target that has bitmaps of its own: what a job marks there must not hide what others
    /// write.
    @Suite struct WrittenTargets {
        private static let size: Int64 = 8 * miB
        private static let place = 6 * miB + 5120..<6 * miB + 5632

        /// A source, its target, and a copy of that which bitmap `k` of the target knows.
        private func chained(_ scratch: Scratch) throws -> (String, String, String) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let (target, copy) = (scratch.path("target"), scratch.path("copy"))
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            try scratch.bitmap("add", target, "k")
            try scratch.mirror(target, copy, "--create", "--bitmap", "k")
            usleep(20_000)
            return (source, target, copy)
        }

        private func change(_ scratch: Scratch, _ source: String) throws {
            try Content.write(2, to: source, miB..<5 * miB)
            try scratch.bitmap("mark", source, "n", "1M+4M")
        }

        /// The bitmap of the target has everything marked.
        private func expectWhole(_ scratch: Scratch, _ target: String, _ copy: String) throws {
            let report = try scratch.mirrorOnwards([
                "incremental", target, copy, "--bitmap", "k",
            ])
            #expect(report.number("planned") == Self.size, "\(report)")
            expectSame(target, copy)
        }

        @Test func `what a job writes its target's bitmaps have`() throws {
            let scratch = try Scratch()
            let (source, target, copy) = try chained(scratch)
            try change(scratch, source)
            try scratch.mirrorOnwards(["incremental", source, target, "--bitmap", "n"])
            let report = try scratch.mirrorOnwards([
                "incremental", target, copy, "--bitmap", "k",
            ])
            #expect(report.number("planned") == 4 * miB, "\(report)")
            #expect(!report.evidence.contains("sourceUnknown"), "\(report)")
            expectSame(source, copy)
        }

        @Test(arguments: [false, true])
        func `what was written before without a mark is copied`(isMarkedFirst: Bool) throws {
            let scratch = try Scratch()
            let (source, target, copy) = try chained(scratch)
            if isMarkedFirst {
                try Content.write(2, to: source, 0..<64 * kiB)
                try scratch.bitmap("mark", source, "n", "0+64K")
                try scratch.mirrorOnwards(["incremental", source, target, "--bitmap", "n"])
                usleep(20_000)
            }
            try Content.write(7, to: target, Self.place)
            try change(scratch, source)
            let end = try scratch.run(
                "incremental", source, target, "--bitmap", "n", "--new-target")
            guard end.code != Code.refused else { return }
            #expect(end.code == Code.done, "\(end)")
            try expectWhole(scratch, target, copy)
        }

        /// Who wrote there as well, nobody has heard.
        @Test func `a job that died leaves a doubt, and the next one marks everything`() throws {
            let scratch = try Scratch()
            let (source, target, copy) = try chained(scratch)
            try change(scratch, source)
            let command = ["incremental", source, target, "--bitmap", "n"]
            try scratch.interrupt(command, by: SIGKILL)
            let doubtful = try scratch.mirrorOnwards([
                "incremental", target, copy, "--bitmap", "k", "--bitmap-mode", "never",
            ])
            #expect(doubtful.evidence.contains("sourceUnknown"), "\(doubtful)")
            try scratch.interrupt(command + ["--resume"], by: SIGKILL)
            try Content.write(7, to: target, Self.place)
            let resumed = try scratch.run(command + ["--resume"])
            // Now and then the sample before the first write finds it.
            guard resumed.code != Code.refused else { return }
            #expect(resumed.code == Code.done, "\(resumed)")
            try expectWhole(scratch, target, copy)
        }

        /// Another name of the target is the target.
        @Test func `what was missed is copied whatever name the target goes by`() throws {
            let scratch = try Scratch()
            let (source, target, copy) = try chained(scratch)
            try Shell.run("ln", target, target + ".link")
            try Content.write(7, to: target, Self.place)
            try Content.write(2, to: source, miB..<5 * miB)
            let map = scratch.path("map")
            try Shell.run("sh", "-c", "echo 1048576 4194304 > \(map)")
            let end = try scratch.run(
                "incremental", source, target + ".link", "--map", "\(map):ranges")
            guard end.code != Code.refused else { return }
            #expect(end.code == Code.done, "\(end)")
            try expectWhole(scratch, target, copy)
        }

        /// What is written below the target is no work of the job, and no mark tells of it.
        @Test(.enabled(if: Shell.has("qemu-img", "qemu-io")), arguments: [false, true])
        func `a write below a target overlay in mid-job is not taken for marked`(
            isStopped: Bool
        ) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let base = scratch.path("base")
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, base, "--create", "--bitmap", "n")
            let target = scratch.path("target.qcow2")
            try scratch.mirrorOnwards([
                "incremental", source, target, "--bitmap", "n", "--create", "--backing", base,
                "--backing-format", "raw",
            ])
            let copy = scratch.path("copy")
            let store = target + ".bitmaps"
            try scratch.bitmap("add", target, "k", "--bitmaps", store)
            try scratch.mirror(target, copy, "--create", "--bitmap", "k")
            try change(scratch, source)
            let child = try scratch.start(
                ["incremental", source, target, "--bitmap", "n", "--json", "--progress"]
                    + Interrupting.slow)
            #expect(child.waitForProgress())
            try Content.write(7, to: base, Self.place)
            if isStopped { child.send(SIGTERM) }
            let end = try child.wait()
            #expect(end.code == (isStopped ? Code.interrupted : Code.failed), "\(end)")
            try scratch.expectRefused(
                ["incremental", target, copy, "--bitmap", "k"], "unmarkedWrites")
        }

        @Test(.enabled(if: Shell.has("qemu-img", "qemu-io")), arguments: ["raw", "qcow2"])
        func `a commit makes no base larger than its store is for`(format: String) throws {
            let scratch = try Scratch()
            let (base, overlay) = (scratch.path("base.\(format)"), scratch.path("over.qcow2"))
            try Shell.run("qemu-img", "create", "-q", "-f", format, base, "1M")
            let store = base + ".bitmaps"
            try scratch.bitmap("add", base, "n", "--bitmaps", store)
            try Shell.run(
                "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, overlay, "2M")
            try QEMU.io(overlay, ["write -P 5 0 2M"])
            for words in [["--dry-run"], []] {
                let end = try scratch.run(["commit", overlay] + words)
                #expect(end.code == Code.refused, "\(end)")
                #expect(end.errors.contains(store), "\(end)")
            }
            try scratch.succeed("bitmap", "show", base, "n")
            unlink(store)
            try scratch.succeed("commit", overlay)
        }
    }
}
