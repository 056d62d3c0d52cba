import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Sentences about a target that rest on more than what the job has done itself.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Evidence {
        static let size = 8 * miB

        private func codes(_ report: Event) -> [String] {
            report.list("evidence").compactMap { $0.text("code") }
        }

        /// A full mirror that was stopped on its way.
        private func interrupted(
            _ scratch: Scratch, by signal: CInt
        ) throws -> (source: String, target: String) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let child = try scratch.start([
                "full", source, target, "--create", "--speed", "3M", "--request-size", "256K",
                "--checkpoint", "0.1",
            ])
            let record = source + ".bitmaps"
            _ = child.wait(until: { _ in
                access(record, F_OK) == 0
                    && (try? Content.allocated(target)).map { $0 >= 2 * miB } ?? false
            })
            child.send(signal)
            _ = try child.wait()
            return (source, target)
        }

        /// What was copied is not copied again: a write over it would stay.
        @Test func `a target that was written since the interrupt is not resumed`() throws {
            let scratch = try Scratch()
            let (source, target) = try interrupted(scratch, by: SIGINT)
            try Content.write(9, to: target, 1_536 * kiB..<1_540 * kiB)
            for options in [["--resume"], ["--resume=auto", "--create"]] {
                let end = try scratch.run(["full", source, target] + options + ["--json"])
                #expect(end.code == Code.refused, "\(end)")
                #expect(try end.report().text("code") == "changedSinceInterrupt", "\(end)")
            }
            try scratch.mirror(source, target, "--overwrite")
            expectSame(source, target)
        }

        @Test(arguments: [SIGINT, SIGKILL])
        func `a resumed mirror says what it rests on`(signal: CInt) throws {
            let scratch = try Scratch()
            let (source, target) = try interrupted(scratch, by: signal)
            let end = try scratch.run("full", source, target, "--resume", "--json")
            #expect(end.code == Code.done, "\(end)")
            let report = try end.report()
            // Nobody looked at the target when the job was killed.
            let isKnown = signal == SIGINT
            #expect(report.text("claim") == (isKnown ? "mirror" : "mirrorByEvidence"), "\(end)")
            #expect(codes(report).contains(isKnown ? "targetUntouched" : "targetUnknown"))
            expectSame(source, target)
        }

        @Test func `a promise is not a proof`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let arguments = ["full", source, target, "--overwrite", "--target-is-zero"]
            let end = try scratch.run(arguments + ["--json"])
            let report = try end.report()
            #expect(report.text("claim") == "mirrorByEvidence", "\(end)")
            #expect(codes(report).contains("zerosVouched"), "\(end)")
            // What was not written was not copied.
            #expect(!codes(report).contains("allCopied"), "\(end)")
            let text = try scratch.run(arguments)
            #expect(text.output.contains("as far as can be known"), "\(text)")
            #expect(text.output.contains("rests on: you say"), "\(text)")
        }

        @Test(arguments: [[], ["--new-target"]])
        func `a target taken on trust stays in doubt until it is proven`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create")
            try scratch.bitmap("add", source, "n")
            func mirror(_ more: String...) throws -> Child.End {
                try scratch.bitmap("mark", source, "n", "0+64K")
                let end = try scratch.run(
                    ["incremental", source, target, "--bitmap", "n"] + more)
                #expect(end.code == Code.done, "\(end)")
                return end
            }
            func list() throws -> [Event] {
                let end = try scratch.run("bitmap", "list", source, "--json")
                return try #require(end.report().list("targets").first).list("doubts")
            }
            let kind = options.isEmpty ? "assumed" : "vouched"
            _ = try scratch.run(["incremental", source, target, "--bitmap", "n"] + options)
            for _ in 0..<2 {
                #expect(codes(try mirror("--json").report()).contains("notProven"))
                #expect(try list().map { $0.text("code") } == [kind])
            }
            let words = "never since was all of it copied or compared"
            #expect(try mirror().output.contains(words))
            let lines = try scratch.run("bitmap", "list", source).output.split(separator: "\n")
            #expect(lines.last?.hasPrefix("  not proven: ") == true, "\(lines)")
            #expect(lines.last?.hasSuffix(words) == true, "\(lines)")
            #expect(try scratch.run("bitmap", "show", source, "n").output.contains(words))
            #expect(try mirror("--verify=all", "--json").report().text("claim") == "mirror")
            #expect(try !codes(mirror("--json").report()).contains("notProven"))
            #expect(try list().isEmpty)
        }

        @Test func `what an interrupted mirror was promised is not forgotten`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create")
            try scratch.bitmap("add", source, "n")
            try scratch.bitmap("mark", source, "n", "0+8M")
            let command = ["incremental", source, target, "--bitmap", "n", "--json"]
            let child = try scratch.start(
                command + ["--progress", "--speed", "2M", "--request-size", "64K"])
            #expect(child.waitForProgress())
            child.send(SIGTERM)
            #expect(try child.wait().code == Code.interrupted)
            let end = try scratch.run(command + ["--resume"])
            #expect(end.code == Code.done, "\(end)")
            #expect(codes(try end.report()).contains("notProven"), "\(end)")
        }

        @Test func `a larger target is a mirror in its first part`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.file("target", size: Self.size + miB)
            let end = try scratch.run("full", source, target, "--allow-larger", "--verify")
            #expect(end.code == Code.done, "\(end)")
            let first = "the first 8.0 MiB of \(target)"
            #expect(end.output.contains("\(first) are a mirror of \(source)"), "\(end)")
            #expect(end.output.contains("\(source) and \(first) are identical"), "\(end)")
        }

        @Test func `a write that no mark told of is what a difference is put down to`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 64 * miB, seed: 1)
            try scratch.bitmap("add", source, "n")
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            try scratch.bitmap("mark", source, "n", "0+64K")
            try Content.write(5, to: source, 40 * miB..<40 * miB + 4 * kiB)
            let end = try scratch.run(
                "incremental", source, target, "--bitmap", "n", "--verify=all")
            // Now and then the sample before the first write finds it.
            guard end.code != Code.refused else { return }
            #expect(end.code == Code.different, "\(end)")
            #expect(end.errors.contains("written without a mark"), "\(end)")
            #expect(end.errors.contains("at offset \(40 * miB)"), "\(end)")
            #expect(!end.errors.contains("hardware"), "\(end)")
        }

        @Test(.enabled(if: QEMU.isThere, "needs qemu-img"))
        func `commit and stream claim what they do`() throws {
            let scratch = try Scratch()
            for (command, claim) in [("commit", "committed"), ("stream", "streamed")] {
                let base = scratch.path(command + ".base")
                let overlay = scratch.path(command + ".qcow2")
                try QEMU.img("create", "-q", "-f", "qcow2", base, "8M")
                try QEMU.io(base, ["write -P 1 0 1M"])
                try QEMU.img(
                    "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay)
                try QEMU.io(overlay, ["write -P 2 2M 1M"])
                let end = try scratch.run(command, overlay, "--json")
                #expect(end.code == Code.done, "\(end)")
                #expect(try end.report().text("claim") == claim, "\(end)")
            }
        }

        /// A note says that nothing is wrong, which nobody wants to read in a mail every night.
        @Test(.enabled(if: Needs.loops, "needs loop devices"))
        func `quiet commands leave notes out and warnings in`() throws {
            let scratch = try Scratch()
            let loop = try scratch.loop(over: try scratch.image("d", size: Self.size, seed: 1))
            let loud = try scratch.run("full", loop.path, scratch.path("t"), "--create", "--json")
            let events = loud.events.filter { $0.kind == "warning" }
            let quiet = try scratch.run("full", loop.path, scratch.path("u"), "--create", "-q")
            #expect(quiet.code == Code.done && quiet.errors.isEmpty, "\(quiet)")
            #expect(events.allSatisfy { $0.text("severity") == "note" }, "\(loud)")
            let source = try scratch.image("s", size: Self.size, seed: 2)
            let writer = open(source, O_RDWR)
            defer { close(writer) }
            let warned = try scratch.run(
                "full", source, scratch.path("v"), "--create", "-q", "--allow-source-in-use")
            #expect(warned.errors.contains("is in use"), "\(warned)")
        }
    }
}
