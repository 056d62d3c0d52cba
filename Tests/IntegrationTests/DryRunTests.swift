import Foundation
import TestSupport
import Testing

extension Processes {
    /// What would be done, and one command line for a first and every further attempt.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct DryRuns {
        static let size = 8 * miB

        /// The names and contents of all files, but for what the tests themselves write.
        private func state(_ scratch: Scratch) throws -> [String: String] {
            var state: [String: String] = [:]
            for name in try FileManager.default.contentsOfDirectory(atPath: scratch.path("."))
            where !name.hasPrefix("child-") {
                state[name] =
                    try Shell.run("md5sum", scratch.path(name))
                    + Shell.run("stat", "-c", "%s %y %z", scratch.path(name))
            }
            return state
        }

        private func dry(
            _ scratch: Scratch, _ arguments: String..., code: Int32 = Code.done
        ) throws -> Event {
            let before = try state(scratch)
            let end = try scratch.run(arguments + ["--dry-run", "--json"])
            #expect(end.code == code, "\(end)")
            #expect(try state(scratch) == before)
            let text = try scratch.run(arguments + ["--dry-run"])
            #expect(text.code == code, "\(text)")
            #expect(code != Code.done || text.output.hasPrefix("dry run"), "\(text)")
            #expect(try state(scratch) == before)
            return try #require(end.events.last, "\(end)")
        }

        @Test func `a full mirror`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let target = scratch.path("t")
            let new = try dry(scratch, "full", source, target, "--create")
            #expect(new.flag("wouldCreate") == true)
            #expect(new.number("read") == Self.size)
            #expect(try dry(scratch, "full", source, target, code: Code.refused).kind == "error")
            let small = try scratch.image("small", size: miB, seed: 2)
            let refused = try dry(scratch, "full", source, small, code: Code.refused)
            #expect(refused.text("code") == "targetTooSmall")
            let exists = try dry(scratch, "full", source, small, "--create", code: Code.refused)
            #expect(exists.text("code") == "targetExists")
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4"), "needs mkfs.ext4"))
        func `what would be overwritten is named`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let target = try scratch.file("t", size: Self.size)
            try Shell.run("mkfs.ext4", "-q", "-L", "precious", target)
            let refused = try dry(scratch, "full", source, target, code: Code.refused)
            #expect(refused.text("code") == "carriesSignature")
            let event = try dry(scratch, "full", source, target, "--overwrite")
            let things = event.fields["overwrites"] as? [String]
            #expect(things?.count == 1 && things?[0].contains("precious") == true, "\(event)")
        }

        @Test(.enabled(if: Shell.has("qemu-img", "qemu-io"), "needs QEMU's tools"))
        func `what an image has that would be overwritten is named`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let target = scratch.path("t.qcow2")
            try Shell.run("qemu-img", "create", "-qf", "qcow2", target, "8M")
            try Shell.run("qemu-io", "-c", "write 0 1M", target)
            let event = try dry(scratch, "full", source, target, "--overwrite")
            let things = event.fields["overwrites"] as? [String]
            #expect(things?.count == 1, "\(event)")
            #expect(things?.first?.contains("--overwrite") == false, "\(event)")
        }

        @Test(.enabled(if: Needs.loops, "needs loop devices"))
        func `an image that would be made on a disk`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let disk = try scratch.loop("d", size: 2 * Self.size, seed: 2).path
            let arguments = ["full", source, disk, "--create", "--target-format", "qcow2"]
            let content = try Content.fingerprint(disk)
            let refused = try scratch.run(arguments + ["--dry-run", "--json"])
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(try refused.report().text("code") == "holdsData", "\(refused)")
            let end = try scratch.run(arguments + ["--overwrite", "--dry-run", "--json"])
            #expect(end.code == Code.done, "\(end)")
            let event = try #require(end.events.last { $0.kind == "dryRun" }, "\(end)")
            #expect((event.fields["overwrites"] as? [String])?.count == 1, "\(end)")
            let text = try scratch.run(arguments + ["--overwrite", "--dry-run"])
            #expect(text.output.contains("made a qcow2 image"), "\(text)")
            #expect(text.output.contains("overwritten: "), "\(text)")
            #expect(try Content.fingerprint(disk) == content)
            #expect(try scratch.run(arguments + ["--overwrite"]).code == Code.done)
        }

        @Test func `an incremental mirror asks the store`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let target = scratch.path("t")
            let missing = try dry(
                scratch, "incremental", source, target, "--bitmap", "n", code: Code.usage)
            #expect(missing.kind == "error")
            #expect(try scratch.run("bitmap", "add", source, "n").code == Code.done)
            #expect(
                try scratch.run("full", source, target, "--create", "--bitmap", "n").code
                    == Code.done)
            #expect(try scratch.run("bitmap", "mark", source, "n", "1M+64K").code == Code.done)
            let event = try dry(scratch, "incremental", source, target, "--bitmap", "n")
            #expect(event.number("planned") == 65536)
            // The bitmap is not taken, and still has it.
            let end = try scratch.run("incremental", source, target, "--bitmap", "n", "--json")
            #expect(end.code == Code.done, "\(end)")
            #expect(try end.report().number("planned") == 65536)
        }

        @Test(.enabled(if: Shell.has("qemu-img", "qemu-io"), "needs QEMU's tools"))
        func `jobs inside a chain`() throws {
            let scratch = try Scratch()
            let base = scratch.path("b.qcow2")
            let overlay = scratch.path("o.qcow2")
            try Shell.run("qemu-img", "create", "-qf", "qcow2", base, "16M")
            try Shell.run("qemu-io", "-c", "write 0 4M", base)
            try Shell.run(
                "qemu-img", "create", "-qf", "qcow2", "-b", base, "-F", "qcow2", overlay)
            try Shell.run("qemu-io", "-c", "write 3M 2M", overlay)
            #expect(try dry(scratch, "commit", overlay).number("read") == 2 * miB)
            #expect(try dry(scratch, "commit", overlay, "--keep").number("read") == 2 * miB)
            #expect(try dry(scratch, "stream", overlay).number("read") == 3 * miB)
            #expect(try dry(scratch, "stream", base, code: Code.usage).kind == "error")
            let target = try scratch.file("t", size: 16 * miB)
            #expect(try dry(scratch, "top", overlay, target).number("planned") == 2 * miB)
        }

        @Test func `one command line until it succeeds`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let target = scratch.path("t")
            let line = ["full", source, target, "--create", "--resume=auto", "--json"]
            let child = try scratch.start(line + ["--speed", "3M", "--request-size", "64K"])
            #expect(child.wait(until: { $0.output.contains("\"progress\"") }))
            child.send(SIGTERM)
            let first = try child.wait()
            #expect(first.code == Code.interrupted, "\(first)")
            #expect(first.errors.contains("run the command again to continue"), "\(first)")
            let event = try dry(scratch, "full", source, target, "--create", "--resume=auto")
            let left = try #require(event.number("planned"))
            #expect(left > 0 && left < Self.size)
            let second = try scratch.run(line)
            #expect(second.code == Code.done, "\(second)")
            #expect(try second.report().number("planned") == left)
            expectSame(source, target)
        }

        @Test func `what can't be resumed is begun anew`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let target = scratch.path("t")
            let line = ["full", source, target, "--create", "--resume=auto", "--json"]
            let child = try scratch.start(line + ["--speed", "3M", "--request-size", "64K"])
            #expect(child.wait(until: { $0.output.contains("\"progress\"") }))
            child.send(SIGTERM)
            #expect(try child.wait().code == Code.interrupted)
            usleep(20_000)
            try Content.write(9, to: source, 0..<miB)
            let end = try scratch.run(line)
            #expect(end.code == Code.done, "\(end)")
            #expect(end.errors.contains("beginning anew"), "\(end)")
            #expect(try end.report().number("planned") == Self.size)
            expectSame(source, target)
        }
    }
}
