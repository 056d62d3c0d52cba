import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// How requests reach the kernel, and what happens where one way is closed.
    @Suite(.serialized, .enabled(if: Needs.strace, Needs.straceReason), .timeLimit(.minutes(20)))
    struct IOMethods {
        static let size = 16 * miB + 4096 + 513

        private static func injecting(_ faults: String...) -> [String] {
            ["strace", "-f", "-qq", "-o", "/dev/null"] + faults.flatMap { ["-e", "inject=\($0)"] }
        }

        @Test(arguments: [
            "io_uring_setup:error=EPERM", "io_uring_setup:error=ENOSYS",
            "io_uring_setup:error=ENOMEM", "io_uring_enter:error=EPERM",
        ])
        func `without io_uring threads do it, and say so`(fault: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let prefix = Self.injecting(fault)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--verify", prefix: prefix)
            #expect(end.code == Code.done, "\(end)")
            #expect(try end.report().text("io") == "threads")
            #expect(try end.report().flag("registeredBuffers") == false)
            expectSame(source, target)
            let said = try scratch.run("full", source, target, "--overwrite", prefix: prefix)
            #expect(said.output.contains("by threads, at some cost in speed"), "\(said)")
            let compare = try scratch.run("compare", source, target, "--json", prefix: prefix)
            #expect(compare.code == Code.done, "\(compare)")
            for command in [
                ["compare", source, target], ["bitmap", "diff", source, target, "--into", "n"],
            ] {
                let end = try scratch.run(command, prefix: prefix)
                #expect(end.output.contains("by threads, at some cost in speed"), "\(end)")
            }
        }

        /// Told to use io_uring, it does or fails, and leaves the target as it was.
        @Test(arguments: [
            ("ENOSYS", "Linux"), ("EPERM", "io_uring"), ("ENOMEM", "memory"),
            ("EMFILE", "io_uring"),
        ])
        func `io_uring or nothing`(code: String, word: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let before = try Content.fingerprint(target)
            let prefix = Self.injecting("io_uring_setup:error=\(code)")
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--io", "uring", prefix: prefix)
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("io_uring"), "\(end)")
            #expect(end.errors.contains(word), "\(end)")
            #expect(try end.report().kind == "error")
            #expect(try Content.fingerprint(target) == before)
            let fresh = target + ".new"
            let create = try scratch.run(
                "full", source, fresh, "--create", "--io", "uring", prefix: prefix)
            #expect(create.code == Code.failed, "\(create)")
            #expect(!FileManager.default.fileExists(atPath: fresh))
            let compare = try scratch.run(
                "compare", source, target, "--io", "uring", prefix: prefix)
            #expect(compare.code == Code.failed, "\(compare)")
        }

        /// What a thread's system call may say and the copy goes on. Only its own calls are on
        /// files of these names.
        @Test(arguments: [
            "pread64:error=EINTR:when=2+5", "pwrite64:error=EINTR:when=1+3",
            "pwrite64:error=EAGAIN:when=2+4", "fallocate:error=EOPNOTSUPP",
            "fdatasync:error=EINTR:when=1", "ppoll:error=EINTR:when=1+2",
            "pwrite64:delay_enter=2000", "sync_file_range:error=EINVAL",
        ])
        func `calls that fail and may`(fault: String) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            try Content.write(1, to: source, 0..<5 * miB + 7)
            try Content.write(1, to: source, 9 * miB..<Self.size)
            for cache in ["direct", "buffered"] {
                let target = try scratch.image("target", size: Self.size, seed: 2)
                let end = try scratch.run(
                    "full", source, target, "--overwrite", "--json", "--io", "threads",
                    "--request-size", "128K",
                    "--cache", cache,
                    prefix: Self.injecting(fault) + ["-P", source, "-P", target])
                #expect(end.code == Code.done, "\(cache): \(end)")
                expectSame(source, target)
            }
        }

        @Test(arguments: [
            "pread64:error=ENODATA", "pwrite64:error=ENOSPC", "pwrite64:error=EIO:when=3+",
            "pwrite64:error=EFBIG:when=2+",
        ])
        func `calls that fail for good fail the job`(fault: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 4 * miB, seed: 1)
            let target = try scratch.image("target", size: 4 * miB, seed: 2)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--io", "threads",
                "--request-size", "64K",
                prefix: Self.injecting(fault) + ["-P", source, "-P", target])
            #expect(end.code != Code.done, "\(end)")
            #expect(!end.errors.contains("is a mirror of"), "\(end)")
        }

        @Test func `a chain of images by threads`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = scratch.path("image.qcow2")
            let end = try scratch.run(
                "full", source, image, "--create", "--io", "threads", "--json", "--verify")
            #expect(end.code == Code.done, "\(end)")
            let compare = try scratch.run("compare", source, image, "--io", "threads", "--json")
            #expect(compare.code == Code.done, "\(compare)")
        }
    }
}
