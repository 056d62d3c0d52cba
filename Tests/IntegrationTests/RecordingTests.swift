import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
    /// Jobs whose store can't be written when they end.
    @Suite(
        .serialized, .enabled(if: Needs.loops && Shell.has("mkfs.ext4", "chattr")),
        .timeLimit(.minutes(20)))
    struct Recording {
        private static let size = 8 * miB

        /// A source and a mirror of it, and the words of an increment by a bitmap whose store is on
        /// a filesystem of its own.
        private func mirrored(
            _ scratch: Scratch
        ) throws -> (source: String, target: String, store: String, increment: [String]) {
            let root = try TestFilesystem.ext4.mount(in: scratch, size: 16 * miB)
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let store = ["--bitmaps", root + "/store"]
            try scratch.bitmap("add", source, "n", "--bitmaps", root + "/store")
            let full = ["full", source, target, "--create", "--bitmap", "n"]
            #expect(try scratch.run(full + store).code == Code.done)
            try Content.write(2, to: source, 0..<4 * miB)
            try scratch.bitmap("mark", source, "n", "0+4M", "--bitmaps", root + "/store")
            return (
                source, target, root + "/store",
                ["incremental", source, target, "--bitmap", "n"] + store
            )
        }

        /// Starts the increment, and keeps its store from being written from then on.
        private func start(
            _ scratch: Scratch, _ increment: [String], _ store: String
        ) throws -> Child {
            let child = try scratch.start(
                increment + [
                    "--json", "--progress", "--checkpoint", "0", "--speed", "2M",
                    "--request-size", "64K",
                ])
            #expect(child.wait(until: { $0.output.contains("\"progress\"") }))
            try Shell.run("chattr", "+i", store)
            return child
        }

        @Test func `a mirror whose end can't be recorded is told as one, and fails`() throws {
            let scratch = try Scratch()
            let (source, target, store, increment) = try mirrored(scratch)
            let end = try start(scratch, increment, store).wait()
            #expect(end.code == Code.failed, "\(end)")
            let report = try #require(end.events.last { $0.kind == "report" })
            #expect(report.text("outcome") == "mirrored", "\(end)")
            #expect(report.text("claim") == "mirrorByBitmap", "\(end)")
            let why = try #require(report.text("recordError"))
            let error = try #require(end.events.last { $0.kind == "error" })
            #expect(error.text("path") == store, "\(end)")
            #expect(try #require(error.text("remedy")).contains("lsattr"), "\(end)")
            #expect(error.number("exitCode") == 1, "\(end)")
            let words =
                "\(target) is a mirror of \(source) as far as bitmap 'n' tells, but bitmap 'n' "
                + "could not be cleared, so that the next incremental mirror copies the same "
                + "again: "
            #expect(error.text("message") == words + why, "\(end)")
            #expect(end.errors.contains(words), "\(end)")
            expectSame(source, target)
            // It copies the same again, and then nothing is left.
            try Shell.run("chattr", "-i", store)
            let again = try scratch.run(increment + ["--json"])
            #expect(again.code == Code.done, "\(again)")
            #expect(try again.report().number("planned") == 4 * miB, "\(again)")
            let last = try scratch.run(increment + ["--json"])
            #expect(try last.report().text("claim") == "nothingCopied", "\(last)")
        }

        @Test func `an interrupted mirror whose progress can't be recorded says so`() throws {
            let scratch = try Scratch()
            let (source, target, store, increment) = try mirrored(scratch)
            let child = try start(scratch, increment, store)
            child.send(SIGTERM)
            let end = try child.wait()
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(
                try #require(end.events.last { $0.kind == "report" }).text("recordError") != nil)
            #expect(end.errors.contains("is NOT a mirror"), "\(end)")
            #expect(end.errors.contains("the progress could not be recorded"), "\(end)")
            try Shell.run("chattr", "-i", store)
            #expect(try scratch.run(increment).code == Code.done)
            expectSame(source, target)
        }
    }

    /// Filesystems whose files have times in whole seconds, so that much can happen in one tick.
    @Suite(
        .serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct WholeSeconds {
        private static let size = 4 * miB
        private static let known =
            (try? String(contentsOfFile: "/proc/filesystems", encoding: .utf8)) ?? ""
        private static let kinds = [
            (name: "ext4", make: ["mkfs.ext4", "-q", "-F", "-I", "128"]),
            (name: "vfat", make: ["mkfs.vfat"]),
        ].filter { known.contains($0.name) && Shell.has($0.make[0]) }.map(\.make)

        @Test(arguments: kinds)
        func `a write right after a mirror is seen`(make: [String]) throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: 64 * miB)
            try Shell.run(make[0], Array(make.dropFirst()) + [disk.path])
            let root = try scratch.mount(disk.path)
            let (source, target) = (root + "/source", root + "/target")
            for path in [source, target] {
                _ = FileManager.default.createFile(atPath: path, contents: nil)
                try Content.write(1, to: path, 0..<Self.size)
            }
            try scratch.bitmap("add", source, "n")
            for written in [source, target] {
                try scratch.mirror(source, target, "--bitmap", "n")
                // One place, so that the sample hardly ever is what sees it.
                try Content.write(9, to: written, 3 * miB..<3 * miB + 512)
                let end = try scratch.run(
                    "incremental", source, target, "--bitmap", "n", "--json")
                #expect(end.code == Code.refused, "\(make) \(end)")
                let code = written == source ? "unmarkedWrites" : "foreignWrites"
                #expect(try end.report().text("code") == code, "\(make) \(end)")
            }
        }
    }
}

extension Processes {
    /// Bitmaps and targets of a store that their user gives up.
    @Suite(.timeLimit(.minutes(20)))
    struct GivingUp {
        @Test func `a target that is forgotten is not known any more`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 4 * miB, seed: 1)
            let (first, second) = (scratch.path("first"), scratch.path("second"))
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, first, "--create", "--bitmap", "n")
            try scratch.mirror(source, second, "--create", "--bitmap", "n")
            let end = try scratch.bitmap("forget", source, "n", "--target", first, "--json")
            #expect(end.events.map { $0.text("target") } == [first], "\(end)")
            let left = try scratch.run("bitmap", "show", source, "n", "--json").report()
            #expect(left.list("targets").map { $0.text("path") } == [second])
            let refused = try scratch.run("incremental", source, first, "--bitmap", "n", "--json")
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(try refused.report().text("code") == "otherTarget", "\(refused)")
            let unknown = try scratch.run("bitmap", "forget", source, "n", "--target", first)
            #expect(unknown.code == Code.usage, "\(unknown)")
            #expect(unknown.errors.contains("does not know \(first)"), "\(unknown)")
        }

        @Test(.enabled(if: QEMU.isThere, QEMU.reason))
        func `all bitmaps inside an image can be removed at once, with their records`() throws {
            let scratch = try Scratch()
            let source = try QEMU.create(scratch.path("source.qcow2"), size: 8 * miB)
            try QEMU.io(source, ["write -P 1 0 8M"])
            let target = scratch.path("target")
            for name in ["a", "b"] { try scratch.bitmap("add", source, name) }
            let full = ["full", source, target, "--bitmap", "a", "--json"]
            let child = try scratch.start(
                full + ["--create", "--speed", "2M", "--request-size", "64K", "--progress"])
            #expect(child.wait(until: { $0.output.contains("\"progress\"") }))
            child.send(SIGTERM)
            #expect(try child.wait().code == Code.interrupted)
            let end = try scratch.bitmap("remove", source, "--all", "--json")
            let removed = try end.report()
            #expect(removed.fields["bitmaps"] as? [String] == ["a", "b"], "\(end)")
            #expect(removed.number("jobs") == 1, "\(end)")
            #expect(try QEMU.bitmaps(source).isEmpty)
            let left = try scratch.run("bitmap", "list", source, "--json")
            #expect(left.code == Code.done && left.events.isEmpty, "\(left)")
            let resumed = try scratch.run(full + ["--resume"])
            #expect(resumed.code == Code.refused || resumed.code == Code.usage, "\(resumed)")
        }

        @Test func `records can be given up, and their bitmaps stay`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 8 * miB, seed: 1)
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "a")
            let full = ["full", source, target, "--bitmap", "a", "--json"]
            let child = try scratch.start(
                full + ["--create", "--speed", "2M", "--request-size", "64K", "--progress"])
            #expect(child.wait(until: { $0.output.contains("\"progress\"") }))
            let busy = try scratch.run("bitmap", "remove", source, "a", "--json")
            #expect(busy.code == Code.refused, "\(busy)")
            #expect(try busy.report().text("code") == "bitmapBusy", "\(busy)")
            child.send(SIGTERM)
            #expect(try child.wait().code == Code.interrupted)
            let end = try scratch.bitmap("remove", source, "--jobs", "--json")
            #expect(try end.report().number("jobs") == 1, "\(end)")
            let left = try scratch.run("bitmap", "list", source, "--json").events
            #expect(left.map { $0.kind } == ["bitmap"], "\(left)")
            let resumed = try scratch.run(full + ["--resume"])
            #expect(try resumed.report().text("code") == "nothingToResume", "\(resumed)")
        }

        /// What comes there between the look and the rename is nothing that anybody agreed to lose.
        @Test(.enabled(if: Needs.strace, Needs.straceReason), arguments: [false, true])
        func `an export replaces no file that came meanwhile`(hasFlag: Bool) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            try scratch.bitmap("add", source, "b")
            let folder = scratch.path("out")
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: false)
            let file = folder + "/map"
            // It stops when the file under its other name was flushed.
            let pidFile = scratch.path("pid")
            var trace = ["-e", "inject=fsync:signal=SIGSTOP:when=1"]
            if !hasFlag { trace += ["-e", "inject=renameat2:error=EINVAL"] }
            let child = try scratch.start(
                ["bitmap", "export", source, "b", file],
                prefix: ["strace", "-f", "-qq", "-o", "/dev/null"] + trace + [
                    "sh", "-c", "echo $$ >\(pidFile); exec \"$@\"", "sh",
                ])
            func isStopped() -> Bool {
                guard let text = try? String(contentsOfFile: pidFile, encoding: .utf8),
                    let pid = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)),
                    let status = try? String(
                        contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
                    let beside = try? FileManager.default.contentsOfDirectory(atPath: folder)
                else { return false }
                return !beside.isEmpty
                    && (status.contains("State:\tT") || status.contains("State:\tt"))
            }
            #expect(child.wait(until: { _ in isStopped() }), "\(child.errors)")
            try Data("new\n".utf8).write(to: URL(fileURLWithPath: file))
            let pid = try #require(
                Int32(
                    String(contentsOfFile: pidFile, encoding: .utf8)
                        .trimmingCharacters(in: .whitespacesAndNewlines)))
            kill(pid, SIGCONT)
            let end = try child.wait()
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("exists already"), "\(end)")
            #expect(FileManager.default.contents(atPath: file) == Data("new\n".utf8))
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["map"])
        }
    }
}
