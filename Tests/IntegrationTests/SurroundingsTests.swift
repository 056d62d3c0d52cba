import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// What the program finds around itself: arguments, streams, limits.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Surroundings {
        static let size = 4 * miB

        /// A shell command in the scratch folder, with the program as `$R`.
        private func shell(_ command: String, _ scratch: Scratch) throws -> Child.End {
            try Child(
                [
                    "env", "R=\(RingMirror.path)", "RINGMIRROR_STATE_DIR=\(scratch.path("state"))",
                    "bash", "-c", "cd '\(scratch.path("."))' || exit 99; " + command,
                ], in: scratch
            ).wait()
        }

        @Test func `without arguments there is help, and it is an error`() throws {
            let scratch = try Scratch()
            for arguments in [[], ["bitmap"], ["bench"]] {
                let end = try scratch.run(arguments)
                #expect(end.code == Code.usage, "\(end)")
                #expect(end.output.isEmpty && end.errors.contains("USAGE"), "\(end)")
            }
        }

        /// Where Swift finds no arguments: a chroot, an initramfs, a hidden /proc.
        @Test(.enabled(if: Needs.root, Needs.rootReason))
        func `arguments without proc`() throws {
            let scratch = try Scratch()
            _ = try scratch.image("a", size: Self.size, seed: 1)
            _ = try scratch.image("b", size: Self.size, seed: 2)
            let end = try shell(
                """
                unshare -m --propagation private bash -c 'mount -t tmpfs none /proc || exit 98
                $R compare a b; echo compare $?; $R nonsense; echo nonsense $?
                $R full a b --overwrite; echo full $?; $R; echo none $?'
                """, scratch)
            #expect(end.output.contains("nonsense 2"), "\(end)")
            #expect(end.output.contains("none 2"), "\(end)")
            #expect(!end.output.contains("compare 0"), "\(end)")
            // The words fit a side that is only read as well.
            #expect(end.errors.contains("who else uses it, because /proc"), "\(end)")
            #expect(!end.errors.contains("writing"), "\(end)")
            if end.output.contains("full 0") { expectSame(scratch.path("a"), scratch.path("b")) }
        }

        /// A name that is not UTF-8 leads to that file, or to none.
        @Test func `names are bytes`() throws {
            let scratch = try Scratch()
            let end = try shell(
                #"""
                head -c 1M /dev/urandom >src; truncate -s 1M $'b\xe4' $'b\xf6'
                head -c 1M /dev/urandom >$'b\xef\xbf\xbd'; cp $'b\xef\xbf\xbd' keep
                $R full src $'b\xe4' --overwrite --json; rc=$?; echo; echo "rc $rc"
                cmp -s $'b\xef\xbf\xbd' keep && echo kept
                cmp -s src $'b\xe4' && echo mirrored
                $R info $'none\xff'; $R full $'b\xf6' new --create --json 2>/dev/null
                """#, scratch)
            #expect(end.output.contains("kept"), "\(end)")
            #expect(end.output.contains("rc 0") == end.output.contains("mirrored"), "\(end)")
        }

        @Test func `output that is lost is a failure`() throws {
            let scratch = try Scratch()
            _ = try scratch.image("s", size: Self.size, seed: 1)
            #expect(try scratch.run("bitmap", "add", scratch.path("s"), "n", "-q").code == 0)
            for command in [
                "info s", "info --json s", "bitmap list s", "bitmap show s n", "measure s",
                "compare s s", "full s t --create --json", "full s u --create", "--help",
                "--version", "bitmap export s n",
            ] {
                let full = try shell("$R \(command) >/dev/full", scratch)
                #expect(full.code == Code.failed, "\(command): \(full)")
                #expect(full.errors.contains("output was lost"), "\(command): \(full)")
            }
            let closed = try shell("$R info s >&-", scratch)
            #expect(closed.code == Code.failed, "\(closed)")
            // What says nothing loses nothing, and lost messages matter to nobody.
            #expect(try shell("$R full s v --create -q >/dev/full", scratch).code == Code.done)
            #expect(try shell("$R full s w --create 2>/dev/full", scratch).code == Code.done)
            expectSame(scratch.path("s"), scratch.path("t"))
        }

        @Test func `a reader that was never there stops no mirror`() throws {
            let scratch = try Scratch()
            _ = try scratch.image("s", size: Self.size, seed: 1)
            let end = try shell(
                "($R full s t --create --json --speed 8M; echo $? >rc) | true; cat rc", scratch)
            #expect(end.output == "1\n", "\(end)")
            expectSame(scratch.path("s"), scratch.path("t"))
        }

        /// A wrong command line is an event as well, whatever is wrong with it.
        @Test(arguments: [
            ["full"], ["full", "a"], ["full", "a", "b", "--nonsense"], ["nonsense"],
            ["incremental", "a", "b"], ["full", "a", "b", "--speed", "x"],
            ["full", "a", "b", "--depth", "0"], ["full", "/nowhere/a", "b"],
            ["full", "/dev/null", "b"], ["full", "-", "b"], ["full", "nbd://host/x", "b"],
        ])
        func `every failure is an event`(arguments: [String]) throws {
            let scratch = try Scratch()
            let end = try scratch.run(arguments + ["--json"])
            #expect(end.code == Code.usage, "\(end)")
            let event = try end.report()
            #expect(event.kind == "error")
            #expect(event.number("exitCode") == Int64(Code.usage))
            #expect(event.text("code")?.isEmpty == false)
            #expect(event.text("message")?.isEmpty == false)
            let line = try #require(end.errors.split(separator: "\n").first)
            #expect(line.hasPrefix("ringmirror: "), "\(end)")
        }

        @Test func `a place that can't keep records is found before the copy`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let end = try scratch.run(
                "full", source, scratch.path("t"), "--create", "--bitmaps",
                scratch.path("nowhere/records"), "--json")
            #expect(end.code == Code.usage, "\(end)")
            #expect(try end.report().text("code") == "notFound")
            #expect(!FileManager.default.fileExists(atPath: scratch.path("t")))
        }

        /// What the library logs has the form of all messages, and takes its level.
        @Test func `what is logged looks like all messages`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("s", size: Self.size, seed: 1)
            let end = try scratch.run(
                "full", source, scratch.path("t"), "--create", "--log-level", "debug", "-q")
            #expect(end.code == Code.done, "\(end)")
            let lines = end.errors.split(separator: "\n")
            #expect(!lines.isEmpty)
            #expect(lines.allSatisfy { $0.hasPrefix("ringmirror: note: ") }, "\(end)")
        }

        /// The limit of a file's size is an error that is told, not a signal that ends everything.
        @Test func `a file that may not grow`() throws {
            let scratch = try Scratch()
            _ = try scratch.image("s", size: Self.size, seed: 1)
            let end = try shell("ulimit -f 1024; $R full s t --create --json", scratch)
            #expect(end.code == Code.failed || end.code == Code.usage, "\(end)")
            #expect(end.errors.hasPrefix("ringmirror: "), "\(end)")
            let code = try end.report().text("code")
            #expect(code == "transferFailed" || code == "systemCall", "\(end)")
        }

        @Test func `an interrupted diff leaves no bitmap`() throws {
            let scratch = try Scratch()
            _ = try scratch.image("a", size: 256 * miB, seed: 1)
            try Shell.run("cp", "--sparse=never", scratch.path("a"), scratch.path("b"))
            let child = try scratch.start([
                "bitmap", "diff", scratch.path("a"), scratch.path("b"), "--into", "d",
            ])
            usleep(50_000)
            child.send(SIGINT)
            let end = try child.wait(seconds: 10)
            guard end.code == Code.interrupted else { return }
            #expect(!FileManager.default.fileExists(atPath: scratch.path("a.bitmaps")))
        }
    }
}
