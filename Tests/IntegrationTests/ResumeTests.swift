import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
    /// Mirrors that end before they are done, and go on.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Resume {
        static let size = 16 * miB

        /// Starts a job that takes about three seconds, records often, and has recorded something.
        private func interrupted(
            _ scratch: Scratch, _ arguments: [String], by signal: CInt, store: String
        ) throws -> Child.End {
            let child = try scratch.start(
                arguments + [
                    "--speed", "6M", "--request-size", "256K", "--checkpoint", "0.2",
                ])
            _ = child.wait(until: { _ in access(store, F_OK) == 0 })
            usleep(700_000)
            #expect(child.isRunning, "\(child.errors)")
            child.send(signal)
            return try child.wait(seconds: 10)
        }

        private func resume(_ scratch: Scratch, _ arguments: [String]) throws -> (Event, Event) {
            let end = try scratch.run(arguments + ["--resume", "--json"])
            #expect(end.code == Code.done, "\(end)")
            return (try #require(end.events.first), try end.report())
        }

        @Test(arguments: [SIGINT, SIGKILL], [false, true])
        func `a full mirror goes on`(signal: CInt, isDisk: Bool) throws {
            guard !isDisk || Needs.loops else { return }
            let scratch = try Scratch()
            var source = try scratch.image("source", size: Self.size, seed: 1)
            var target = try scratch.image("target", size: Self.size, seed: 2)
            let images = (source, target)
            var store = source + ".bitmaps"
            if isDisk {
                source = try scratch.loop(over: source).path
                target = try scratch.loop(over: target).path
                store = scratch.path("state")
            }
            let end = try interrupted(
                scratch, ["full", source, target, "--overwrite"], by: signal, store: store)
            if signal == SIGINT {
                #expect(end.code == Code.interrupted, "\(end)")
                #expect(end.errors.contains("--resume"), "\(end)")
                #expect(!end.errors.contains(" 0 bytes are safe"), "\(end)")
            }
            let list = try scratch.bitmap("list", source)
            #expect(list.output.contains("interrupted: full mirror"), "\(list)")
            let (start, report) = try resume(scratch, ["full", source, target])
            let saved = try #require(start.number("saved"))
            #expect(saved > 0 && saved < Self.size)
            #expect(report.number("planned") == Self.size - saved)
            expectSame(images.0, images.1)
            // A completed job leaves nothing behind.
            let left = try FileManager.default.contentsOfDirectory(
                atPath: isDisk ? store : scratch.path)
            #expect(!left.contains { $0.hasSuffix(".bitmaps") })
        }

        @Test(arguments: [SIGINT, SIGKILL])
        func `an incremental mirror goes on`(signal: CInt) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "0-\(Self.size)")
            let arguments = ["incremental", source, target, "--bitmap", "b"]
            _ = try interrupted(scratch, arguments, by: signal, store: source)
            // As if the job had never run, for everybody but who resumes it.
            #expect(try scratch.dirtyBytes(source, "b") == Self.size)
            // What is marked in between is copied too.
            try Content.write(5, to: source, 0..<64 * kiB)
            try scratch.bitmap("mark", source, "b", "0+64K")
            let end = try scratch.run(arguments + ["--resume"])
            // The image was written since, which only its tracker can vouch for.
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
            #expect(try scratch.dirtyBytes(source, "b") == 0)
        }

        @Test func `always keeps what is done without resuming`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "0-\(Self.size)")
            let arguments = [
                "incremental", source, target, "--bitmap", "b", "--bitmap-mode", "always",
            ]
            _ = try interrupted(scratch, arguments, by: SIGINT, store: source)
            let left = try #require(try scratch.dirtyBytes(source, "b"))
            #expect(left > 0 && left < Self.size)
            let end = try scratch.run(arguments + ["--json"])
            #expect(try end.report().number("planned") == left, "\(end)")
            expectSame(source, target)
            #expect(try scratch.dirtyBytes(source, "b") == 0)
        }

        /// What the first attempt wrote is there, whatever the target was like before it.
        @Test func `a promise that the target is zero ends with the first attempt`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.file("target", size: Self.size)
            try scratch.bitmap("add", source, "b")
            let arguments = [
                "full", source, target, "--overwrite", "--bitmap", "b", "--target-is-zero",
            ]
            _ = try interrupted(scratch, arguments, by: SIGKILL, store: source)
            try Content.zeros(to: source, 0..<miB)
            try scratch.bitmap("mark", source, "b", "0-1M")
            _ = try resume(scratch, arguments)
            expectSame(source, target)
        }

        /// The bitmap is clean, because nothing was marked since it was added, and says nothing
        /// about what the first mirror has not come to.
        @Test(arguments: [true, false])
        func `half a mirror is no base for an increment`(isItsOwn: Bool) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try scratch.bitmap("add", source, "b")
            let full =
                ["full", source, target, "--overwrite"] + (isItsOwn ? ["--bitmap", "b"] : [])
            _ = try interrupted(scratch, full, by: SIGINT, store: source + ".bitmaps")
            let before = try Content.fingerprint(target)
            let end = try scratch.run("incremental", source, target, "--bitmap", "b")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("--resume") && end.errors.contains("--new-target"))
            #expect(try Content.fingerprint(target) == before)
            _ = try resume(scratch, full)
            try scratch.increment(source, target, "--bitmap", "b", "--verify=all")
        }

        @Test func `what is said to be safe is what resuming leaves out`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try scratch.bitmap("add", source, "b")
            let arguments = ["full", source, target, "--overwrite", "--bitmap", "b"]
            let end = try interrupted(scratch, arguments + ["--json"], by: SIGINT, store: source)
            let said = try #require(try end.report().number("saved"))
            #expect(said > 0)
            let (start, _) = try resume(scratch, arguments)
            #expect(start.number("saved") == said)
        }

        /// The mode belongs to the job. Another one would be ignored, and the bitmap cleared that
        /// should never be.
        @Test func `resuming with another mode is refused`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "0-\(Self.size)")
            let arguments = ["incremental", source, target, "--bitmap", "b"]
            _ = try interrupted(scratch, arguments, by: SIGKILL, store: source)
            let before = try Content.fingerprint(target)
            for mode in ["never", "always"] {
                let end = try scratch.run(arguments + ["--resume", "--bitmap-mode", mode])
                #expect(end.code == Code.usage, "\(end)")
                #expect(end.errors.contains("on-success"), "\(end)")
            }
            #expect(try Content.fingerprint(target) == before)
            #expect(try scratch.dirtyBytes(source, "b") == Self.size)
            _ = try resume(scratch, arguments + ["--bitmap-mode", "on-success"])
            expectSame(source, target)
        }

        @Test func `nothing to resume`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = try scratch.image("target", size: miB, seed: 2)
            let before = try Content.fingerprint(target)
            let end = try scratch.run("full", source, target, "--resume")
            #expect(end.code == Code.usage, "\(end)")
            #expect(end.errors.contains("without --resume"), "\(end)")
            #expect(try Content.fingerprint(target) == before)
        }

        @Test(arguments: [
            "source written", "target written", "target replaced", "target resized",
        ])
        func `a changed disk is refused`(how: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            _ = try interrupted(
                scratch, ["full", source, target, "--overwrite"], by: SIGINT,
                store: source + ".bitmaps")
            switch how {
            case "source written": try Content.write(3, to: source, 0..<4096)
            case "target written": try Content.write(3, to: target, 0..<Self.size)
            case "target replaced":
                try Shell.run("cp", target, target + ".new")
                try Shell.run("mv", target + ".new", target)
            default: try Shell.run("truncate", "-s", "+4K", target)
            }
            let before = try Content.fingerprint(target)
            let end = try scratch.run("full", source, target, "--resume", "--allow-larger")
            #expect(end.code == Code.refused, "\(end)")
            #expect(try Content.fingerprint(target) == before)
            // Beginning anew gives the old record up.
            try scratch.mirror(source, target, "--allow-larger")
        }

        @Test func `two jobs at once`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let other = try scratch.image("other", size: Self.size, seed: 3)
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "0-\(Self.size)")
            let child = try scratch.start([
                "incremental", source, target, "--bitmap", "b", "--speed", "6M",
            ])
            _ = child.wait(until: { _ in
                (try? scratch.bitmap("list", source).output.contains("busy")) == true
            })
            for arguments in [
                ["incremental", source, other, "--bitmap", "b"],
                ["bitmap", "clear", source, "b"], ["bitmap", "remove", source, "b"],
                ["bitmap", "disable", source, "b"],
            ] {
                let end = try scratch.run(arguments)
                #expect(end.code == Code.refused, "\(arguments): \(end)")
                #expect(end.errors.contains("process \(child.pid)"), "\(end)")
            }
            // What is marked meanwhile stays.
            try scratch.bitmap("mark", source, "b", "1M+64K")
            let end = try child.wait()
            #expect(end.code == Code.done, "\(end)")
            #expect(try scratch.dirtyBytes(source, "b") == 64 * kiB)
        }

        @Test(.enabled(if: Needs.root, Needs.rootReason))
        func `a full disk under the store loses nothing`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = try scratch.image("target", size: miB, seed: 2)
            let small = try scratch.mount("tmpfs", type: "tmpfs", options: "size=128k")
            let store = small + "/store"
            try scratch.bitmap("add", source, "b", "--bitmaps", store)
            try scratch.bitmap("mark", source, "b", "0-1M", "--bitmaps", store)
            var added = 1
            // Long names first, then short ones, so that no room is left for anything.
            for length in [1000, 100, 1] {
                var failure: Child.End?
                while failure == nil && added < 300 {
                    let name = "\(added)-" + String(repeating: "n", count: length)
                    let end = try scratch.run("bitmap", "add", source, name, "--bitmaps", store)
                    if end.code == Code.done { added += 1 } else { failure = end }
                }
                #expect(failure?.code == Code.failed)
                #expect(failure?.errors.contains("space") == true)
            }
            let list = try scratch.bitmap("list", source, "--json", "--bitmaps", store)
            #expect(list.events.count == added)
            // A job that can't take its bitmap fails before the target is touched.
            let before = try Content.fingerprint(target)
            let end = try scratch.run(
                "incremental", source, target, "--bitmap", "b", "--bitmaps", store)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("space"), "\(end)")
            #expect(try Content.fingerprint(target) == before)
            try Shell.run("mount", "-o", "remount,size=1m", small)
            try scratch.increment(source, target, "--bitmap", "b", "--bitmaps", store)
            expectSame(source, target)
        }
    }
}
