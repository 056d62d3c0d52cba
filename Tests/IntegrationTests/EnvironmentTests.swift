import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Kernels that refuse, limits that are low, and users who are not root.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Environments {
        static let size = 16 * miB + 4096 + 513

        private static func injecting(_ fault: String) -> [String] {
            let call = fault.split(separator: ":")[0]
            return [
                "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(call)", "-e",
                "inject=\(fault)",
            ]
        }

        @Test(
            .enabled(if: Needs.strace, Needs.straceReason),
            arguments: [
                "io_uring_register:error=ENOMEM", "io_uring_register:error=EOPNOTSUPP",
                "io_uring_register:error=EINVAL", "io_uring_setup:error=EINVAL:when=1",
                "io_uring_setup:error=EINVAL:when=1..3",
                "io_uring_enter:error=EINTR:when=3+4", "io_uring_enter:error=EINTR:when=1..20",
                "io_uring_enter:error=EAGAIN:when=2+3", "io_uring_enter:error=EBUSY:when=2+5",
                "io_uring_enter:error=EAGAIN:when=1..50", "io_uring_enter:delay_enter=20000",
                "madvise:error=EINVAL",
            ])
        func `calls that fail and may`(fault: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let end = try scratch.start(
                [
                    "full", source, target, "--overwrite", "--json", "--request-size", "128K",
                    "--depth", "8",
                ],
                prefix: Self.injecting(fault)
            ).wait()
            #expect(end.code == Code.done, "\(end)")
            let report = try end.report()
            #expect(report.text("outcome") == "mirrored")
            #expect(report.flag("registeredBuffers") == !fault.hasPrefix("io_uring_register"))
            expectSame(source, target)
            let compare = try scratch.run("compare", source, target, prefix: Self.injecting(fault))
            #expect(compare.code == Code.done, "\(compare)")
        }

        /// A ring that stays broken must end the job, not hang it.
        @Test(
            .enabled(if: Needs.strace, Needs.straceReason),
            arguments: ["ENXIO:when=3+", "EBADF:when=1+", "EAGAIN:when=5+"])
        func `a ring that breaks`(fault: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--request-size", "128K",
                "--depth", "4", "--io",
                "uring",
                prefix: Self.injecting("io_uring_enter:error=\(fault)"))
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("io_uring_enter"), "\(end)")
            // A ring that never worked is found before the job begins.
            let neverWorked = fault.hasSuffix("when=1+")
            #expect(end.errors.contains("NOT a mirror") == !neverWorked, "\(end)")
        }

        @Test(
            .enabled(if: Needs.root && Shell.has("setpriv", "prlimit"), Needs.rootReason),
            arguments: [true, false])
        func `an ordinary user with little memory to lock`(isNew: Bool) throws {
            let scratch = try Scratch(mode: 0o777)
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            if !isNew { try scratch.image("target", size: Self.size, seed: 2) }
            for path in [source, target] { chown(path, 65534, 65534) }
            let program = scratch.path("ringmirror")
            try Shell.run("cp", RingMirror.path, program)
            chmod(program, 0o755)
            let prefix = [
                "prlimit", "--memlock=65536:65536", "setpriv", "--reuid=65534", "--regid=65534",
                "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
            ]
            let command = prefix + [program, "full", source, target, "--overwrite"]
            let plain = try Child(command + (isNew ? ["--create"] : []), in: scratch).wait()
            #expect(plain.code == Code.done, "\(plain)")
            #expect(plain.output.contains("buffers not registered"), "\(plain)")
            #expect(plain.output.contains("memlock"), "\(plain)")
            expectSame(source, target)
            let json = try Child(command + ["--json"], in: scratch).wait()
            #expect(json.code == Code.done, "\(json)")
            #expect(try json.report().flag("registeredBuffers") == false)
            // Some kernels count rings too, and not only old ones.
            let none = try Child(["prlimit", "--memlock=0:0"] + command.dropFirst(2), in: scratch)
                .wait()
            if none.code != Code.done {
                #expect(none.code == Code.failed && none.errors.contains("ulimit -l"), "\(none)")
                #expect(!none.errors.contains("kernels before"), "\(none)")
            }
        }

        @Test(.enabled(if: Needs.root && Needs.loops, Needs.loopsReason))
        func `no permission`() throws {
            let scratch = try Scratch(mode: 0o777)
            let program = scratch.path("ringmirror")
            try Shell.run("cp", RingMirror.path, program)
            chmod(program, 0o755)
            let secret = try scratch.image("secret", size: miB, seed: 1)
            chmod(secret, 0o600)
            let own = try scratch.image("own", size: miB, seed: 2)
            chown(own, 65534, 65534)
            let disk = try scratch.loop("disk", size: miB, seed: 3)
            let prefix = [
                "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                "--bounding-set=-all", "--inh-caps=-all", program,
            ]
            let before = try [secret, disk.backing].map { try Content.fingerprint($0) }
            for pair in [[secret, own], [own, secret], [disk.path, own], [own, disk.path]] {
                let end = try Child(prefix + ["full", "--overwrite"] + pair, in: scratch).wait()
                #expect(end.code == Code.usage || end.code == Code.refused, "\(end)")
                #expect(end.errors.contains("permission"), "\(end)")
            }
            #expect(try [secret, disk.backing].map { try Content.fingerprint($0) } == before)
            // Neither a store that belongs to somebody else, nor a directory that does.
            let store = try scratch.file("store", size: 0)
            let closed = scratch.path("closed")
            try FileManager.default.createDirectory(
                atPath: closed, withIntermediateDirectories: false)
            for path in [store, closed + "/store"] {
                let end = try Child(
                    prefix + ["bitmap", "add", own, "b", "--bitmaps", path], in: scratch
                ).wait()
                #expect(end.code == Code.usage, "\(end)")
                #expect(end.errors.lowercased().contains("permission"), "\(end)")
            }
        }

        @Test(arguments: [
            ["--rings", "4"], ["--depth", "1"], ["--request-size", "4K"],
            ["--request-size", "16M"], ["--request-size", "4K", "--depth", "1024", "--rings", "3"],
            ["--request-size", "16M", "--depth", "1"], ["--rings", "64", "--depth", "1"],
            ["--zeroes", "write", "--rings", "2"], ["--cache", "buffered", "--rings", "4"],
            ["--cache", "buffered", "--request-size", "4K"], ["--speed", "1G"],
        ])
        func `whatever the shape of the job, the bytes are the same`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            try Content.write(1, to: source, 100 * kiB..<5 * miB + 7)
            try Content.write(1, to: source, 9 * miB..<Self.size)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let end = try scratch.run(
                ["full", source, target, "--overwrite", "--json", "--verify"] + options)
            #expect(end.code == Code.done, "\(end)")
            let report = try end.report()
            for (option, field) in [("--rings", "rings"), ("--depth", "depth")] {
                if let index = options.firstIndex(of: option) {
                    #expect(report.number(field) == Int64(options[index + 1]))
                }
            }
            expectSame(source, target)
        }

        @Test func `another TMPDIR, directory and name`() throws {
            let scratch = try Scratch()
            let name = "a b\n-ü 'q'\"*.img"
            let source = try scratch.image(name, size: miB + 1, seed: 1)
            let end = try Child(
                [
                    "sh", "-c", "cd \"$0\" && exec \"$1\" full \"./$2\" -- \"-t\" --create --json",
                    scratch.path, RingMirror.path, name,
                ], in: scratch
            ).wait()
            // Everything behind -- is a path, so --create is one too many.
            #expect(end.code == Code.usage, "\(end)")
            let again = try Child(
                [
                    "sh", "-c", "cd \"$0\" && exec \"$1\" full --create --json -- \"./$2\" -t",
                    scratch.path, RingMirror.path, name,
                ], in: scratch
            ).wait()
            #expect(again.code == Code.done, "\(again)")
            #expect(again.events.first?.text("source") == "./" + name)
            expectSame(source, scratch.path("-t"))
        }
    }
}
