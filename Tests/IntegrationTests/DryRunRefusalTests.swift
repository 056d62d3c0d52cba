import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Where a mirror would be refused or fail at its beginning, its dry run ends in the same way.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct DryRunRefusals {
        static let size = 8 * miB

        /// Both end with this code, and the dry run first: it leaves the reason in place.
        private func expectRefused(
            _ scratch: Scratch, _ arguments: String..., code: Int32, as reason: String
        ) throws {
            let dry = try scratch.run(arguments + ["--dry-run", "--json"])
            #expect(dry.code == code, "\(dry)")
            #expect(dry.events.last?.text("code") == reason, "\(dry)")
            let real = try scratch.run(arguments + ["--json"])
            #expect(real.code == code, "\(real)")
            #expect(real.events.last { $0.text("code") != nil }?.text("code") == reason, "\(real)")
        }

        private func image(_ scratch: Scratch) throws -> String {
            let image = scratch.path("image.qcow2")
            try QEMU.img("create", "-q", "-f", "qcow2", image, "8M")
            try QEMU.io(image, ["write -P 7 1M 1M"])
            try scratch.bitmap("add", image, "n")
            return image
        }

        /// A file with one of the locks that QEMU takes.
        private func locked(_ path: String, byte: off_t) throws -> FileHandle {
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            var lock = flock()
            lock.l_type = Int16(F_RDLCK)
            lock.l_start = byte
            lock.l_len = 1
            let setOpenFileLock: CInt = 37
            #expect(fcntl(file.fileDescriptor, setOpenFileLock, &lock) == 0)
            return file
        }

        /// What is below is written by a commit, and read by a stream.
        @Test(.enabled(if: QEMU.isThere, QEMU.reason), arguments: ["qcow2", "raw"])
        func `jobs inside a chain above what somebody writes`(format: String) throws {
            let scratch = try Scratch()
            let base = scratch.path("base")
            try QEMU.img("create", "-q", "-f", format, base, "1M")
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, format))
            // Byte 101 says that somebody writes.
            let file = try locked(base, byte: 101)
            try expectRefused(scratch, "commit", overlay, code: Code.refused, as: "targetInUse")
            try expectRefused(
                scratch, "commit", overlay, "--keep", code: Code.refused, as: "targetInUse")
            try expectRefused(scratch, "stream", overlay, code: Code.refused, as: "sourceInUse")
            let end = try scratch.run("stream", overlay)
            #expect(!end.errors.contains("--allow-source-in-use"), "they lack it: \(end)")
            try file.close()
        }

        @Test(.enabled(if: QEMU.isThere, QEMU.reason))
        func `an image whose bitmap can't be cleared`() throws {
            let scratch = try Scratch()
            let image = try image(scratch)
            let target = scratch.path("target")
            try scratch.mirror(image, target, "--create", "--bitmap", "n")
            try scratch.bitmap("mark", image, "n", "1M+64K")
            // A reader lets nobody else write: byte 201 is QEMU's for that.
            let file = try locked(image, byte: 201)
            for command in ["full", "incremental"] {
                try expectRefused(
                    scratch, command, image, target, "--bitmap", "n", "--overwrite",
                    code: Code.refused, as: "targetInUse")
            }
            try file.close()
            // Clusters in use that nothing counts.
            let bytes = try Data(contentsOf: URL(fileURLWithPath: image))
            func number(at offset: Int) -> Int {
                bytes[offset..<offset + 8].reduce(0) { $0 << 8 | Int($1) }
            }
            let writer = try FileHandle(forWritingTo: URL(fileURLWithPath: image))
            try writer.seek(toOffset: UInt64(number(at: number(at: 48))))
            try writer.write(contentsOf: Data(count: 128))
            try writer.close()
            try expectRefused(
                scratch, "incremental", image, target, "--bitmap", "n", code: Code.refused,
                as: "imageRefused")
        }

        @Test func `a new image that can't be`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let new = scratch.path("new.qcow2")
            try expectRefused(
                scratch, "full", source, new, "--create", "--cluster-size", "3000",
                code: Code.usage, as: "imageUnsupported")
            try expectRefused(
                scratch, "full", source, new, "--create", "--backing", "missing",
                "--backing-format", "raw", code: Code.usage, as: "imageLacks")
            #expect(!FileManager.default.fileExists(atPath: new))
        }

        @Test func `a target whose bitmaps can't be marked`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            try Data("no store".utf8).write(to: URL(fileURLWithPath: target + ".bitmaps"))
            try expectRefused(
                scratch, "full", source, target, "--overwrite", code: Code.failed, as: "notAStore")
        }

        /// What can't be begun makes nothing.
        @Test(arguments: ["file", "directory", "store"])
        func `a new target beside what is no store of it`(what: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            let target = scratch.path("new")
            let place = target + ".bitmaps"
            switch what {
            case "file": try Data("no store".utf8).write(to: URL(fileURLWithPath: place))
            case "directory":
                try FileManager.default.createDirectory(
                    atPath: place, withIntermediateDirectories: false)
            default:
                // Left by a target of another size.
                try scratch.bitmap("add", try scratch.file("new", size: miB), "old")
                unlink(target)
            }
            try expectRefused(
                scratch, "full", source, target, "--create", "--bitmap", "n", code: Code.refused,
                as: what == "store" ? "wrongSize" : "notAStore")
            let end = try scratch.run("full", source, target, "--create")
            #expect(end.errors.lowercased().contains("move"), "the way on: \(end)")
            #expect(!FileManager.default.fileExists(atPath: target))
            #expect(try !scratch.bitmap("list", source).output.contains("--resume"))
        }

        @Test func `a new target where the source's bitmaps are kept`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            for place in [source + ".bitmaps", scratch.path("./source.bitmaps")] {
                try expectRefused(
                    scratch, "full", source, place, "--create", code: Code.refused,
                    as: "sameStorage")
            }
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
            try scratch.bitmap("add", source, "n")
            try expectRefused(
                scratch, "full", source, source + ".bitmaps", "--overwrite", code: Code.refused,
                as: "sameStorage")
        }

        /// A mirror that can't keep its records where it was told to says so before it begins.
        @Test func `a place for records that can't be one`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let other = try scratch.image("other", size: miB, seed: 3)
            try scratch.bitmap("add", other, "n")
            let before = try Content.fingerprint(target)
            for (place, code, reason) in [
                (source, Code.refused, "sameStorage"), (target, Code.refused, "sameStorage"),
                (scratch.path("."), Code.refused, "notAStore"),
                ("/dev/null", Code.refused, "notAStore"),
                (other, Code.refused, "notAStore"),
                (other + ".bitmaps", Code.refused, "wrongSize"),
                (scratch.path("none/store"), Code.usage, "notFound"),
            ] {
                try expectRefused(
                    scratch, "full", source, target, "--overwrite", "--bitmaps", place, code: code,
                    as: reason)
            }
            #expect(try Content.fingerprint(target) == before)
        }

        /// Where NAME.bitmaps can't be there is none.
        @Test func `a name that leaves no room for that of a store`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let long = scratch.path(String(repeating: "y", count: 250))
            for arguments in [["--dry-run"], []] {
                let end = try scratch.run(["full", source, long, "--create"] + arguments)
                #expect(end.code == Code.done, "\(end)")
            }
            expectSame(source, long)
            let end = try scratch.run("full", long, scratch.path("back"), "--create")
            #expect(end.code == Code.done, "\(end)")
            let bitmap = try scratch.run("bitmap", "add", long, "n")
            #expect(bitmap.code == Code.failed && bitmap.errors.contains("too long"), "\(bitmap)")
        }

        @Test func `no place for temporary files`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.file("target", size: Self.size)
            let end = try scratch.run(
                ["full", source, target, "--dry-run"],
                prefix: ["env", "TMPDIR=\(scratch.path("none"))"])
            #expect(end.code == Code.done, "\(end)")
        }

        /// Repaired, its name would be that of another folder.
        @Test(.enabled(if: Needs.strace, Needs.straceReason))
        func `a place for temporary files whose name is no text`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.file("target", size: Self.size)
            try scratch.bitmap("add", source, "n")
            let odd = [
                "sh", "-c", #"export TMPDIR="$(printf '%s/t\377' "$0")"; mkdir "$TMPDIR"; "$@""#,
                scratch.path, "strace", "-f", "-e", "trace=mkdir,mkdirat", "-o",
                scratch.path("calls"),
            ]
            let end = try scratch.run(
                ["full", source, target, "--bitmap", "n", "--dry-run"], prefix: odd)
            #expect(end.code == Code.done, "\(end)")
            let calls = try Shell.run("cat", scratch.path("calls"))
            #expect(calls.contains(#"/t\377/ringmirror-"#) && calls.contains(" = 0"), "\(calls)")
            let left = try Shell.run(
                "find", scratch.path, "-mindepth", "1", "-name", "ringmirror-*")
            #expect(left.isEmpty, "\(left)")
        }
    }
}
