import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
    /// Jobs that are interrupted, killed, and asked how far they are.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Signals {
        static let size = 16 * miB

        /// Starts a mirror that takes about three seconds, and waits until it has done something.
        private func slow(
            _ scratch: Scratch, _ source: String, _ target: String, _ options: String...
        ) throws -> Child {
            let child = try scratch.start(
                ["full", source, target, "--overwrite", "--speed", "6M", "--request-size", "256K"]
                    + options)
            let first = try Content.read(source, 0..<4096)
            #expect(
                child.wait(until: { _ in (try? Content.read(target, 0..<4096)) == first }),
                "\(child.errors)")
            usleep(300_000)
            #expect(child.isRunning, "\(child.errors)")
            return child
        }

        /// How many bytes of the target are the source's, in pages.
        private func copied(_ source: String, _ target: String) throws -> Int64 {
            let first = try Content.read(source, 0..<Self.size)
            let second = try Content.read(target, 0..<Self.size)
            var count: Int64 = 0
            for page in stride(from: 0, to: first.count, by: 4096)
            where first[page..<page + 4096] == second[page..<page + 4096] { count += 4096 }
            return count
        }

        @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
        func `an interrupt stops cleanly`(signal: CInt) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let child = try slow(scratch, source, target, "--json")
            child.send(signal)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.errors.contains("interrupted"), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(end.errors.contains("run the command again"), "\(end)")
            let report = try end.report()
            #expect(report.text("outcome") == "cancelled")
            // What it says was copied is there, on the disk.
            #expect(report.flag("flushed") == true)
            let done = try #require(report.number("done"))
            #expect(done > 0 && done < Self.size)
            #expect(try copied(source, target) >= done)
            try scratch.mirror(source, target)
            expectSame(source, target)
        }

        @Test func `an interrupted new image says how to go on`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let child = try slow(scratch, source, target, "--create")
            child.send(SIGINT)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.errors.contains("without --create"), "\(end)")
            try scratch.mirror(source, target, "--overwrite")
            expectSame(source, target)
        }

        @Test func `an interrupted comparison`() throws {
            let scratch = try Scratch()
            let first = try scratch.image("first", size: 384 * miB, seed: 1)
            let second = scratch.path("second")
            try Shell.run("cp", "--sparse=never", first, second)
            let child = try scratch.start(["compare", first, second, "--progress"])
            // The first progress comes after 0.2 s. On a fast disk all may be done by then.
            _ = child.wait(until: { $0.errors.contains("compared") })
            child.send(SIGINT)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted || end.code == Code.done, "\(end)")
            if end.code == Code.interrupted { #expect(end.errors.contains("did not finish")) }
        }

        /// The first signal waits for a write that takes its time; the second does not.
        @Test(.enabled(if: Needs.fuse && Needs.loops, Needs.fuseReason))
        func `a second interrupt ends at once`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try NBDDisk.filtered(image, ["delay"], ["delay-write=30"], in: scratch)
            let target = try Dress.disk.path(of: disk, in: scratch)
            let child = try scratch.start(["full", source, target, "--overwrite", "--json"])
            #expect(child.wait(until: { $0.output.contains("\"start\"") }))
            usleep(300_000)
            child.send(SIGINT)
            // One that comes at once is the first again: whoever ends others often sends two.
            child.send(SIGINT)
            usleep(1_200_000)
            #expect(child.isRunning)
            #expect(child.errors.contains("press Ctrl-C again"))
            child.send(SIGINT)
            defer { disk.kill() }
            let end = try child.wait(seconds: 8)
            #expect(end.code == Code.interrupted, "\(end)")
        }

        @Test(arguments: [false, true], ["kill", "interrupt"])
        func `after the death of a job the next one completes`(
            isDisk: Bool, how: String
        ) throws {
            guard !isDisk || Needs.loops else { return }
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let loop = isDisk ? try scratch.loop(over: image) : nil
            let target = loop?.path ?? image
            let child = try slow(scratch, source, target)
            child.send(how == "kill" ? SIGKILL : SIGTERM)
            let end = try child.wait(seconds: 10)
            #expect(how == "kill" ? end.signal == SIGKILL : end.code == Code.interrupted, "\(end)")
            // At once: whatever the job held must be free, or be waited for.
            try scratch.mirror(source, target, "--verify")
            expectSame(source, target)
        }

        @Test(.enabled(if: Needs.loops, Needs.loopsReason))
        func `a disk is free as soon as its job has ended`() throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: Self.size, seed: 1)
            let target = try scratch.loop("target", size: Self.size, seed: 2)
            for round in 0..<10 {
                // A partition can be made only where nobody has claimed the disk.
                try scratch.mirror(source.path, target.path)
                for disk in [source, target] {
                    let claim = try FileHandle.claim(disk.path)
                    #expect(claim >= 0, "round \(round), \(disk.path): \(errno)")
                    close(claim)
                }
            }
        }

        @Test func `SIGUSR1 asks how far it is`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let child = try slow(scratch, source, target)
            child.send(SIGUSR1)
            #expect(child.wait(until: { $0.errors.contains("of 16.0 MiB copied") }, seconds: 3))
            child.send(SIGCONT)
            let end = try child.wait()
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
        }

        /// Nothing is written yet, and nothing is there to be left behind.
        @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
        func `a signal before there is a job`(signal: CInt) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let fifo = scratch.path("fifo")
            #expect(mkfifo(fifo, 0o600) == 0)
            let child = try scratch.start([
                "incremental", source, target, "--map", fifo, "--create", "--json",
                "--target-format", "qcow2", "--backing", source, "--backing-format", "raw",
            ])
            // The map is opened when somebody writes to it, and read until that one is done.
            let writer = open(fifo, O_WRONLY)
            defer { close(writer) }
            child.send(SIGUSR1)
            #expect(child.wait(until: { $0.errors.contains("reading") }), "\(child.errors)")
            child.send(signal)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.errors.contains("interrupted while reading"), "\(end)")
            #expect(try end.report().text("code") == "interrupted")
            #expect(!FileManager.default.fileExists(atPath: target))
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
        }

        @Test func `a hangup that was ignored stays ignored`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let child = try scratch.start(
                [
                    "full", source, target, "--overwrite", "--speed", "6M", "--request-size",
                    "256K", "--json",
                ],
                prefix: ["nohup"])
            #expect(child.wait(until: { $0.output.contains("progress") }))
            child.send(SIGHUP)
            let end = try child.wait()
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
        }

        /// `timeout` sends a signal to the program and then to its group.
        @Test func `two signals at once are one`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            for signals in [[SIGINT, SIGINT], [SIGTERM, SIGINT, SIGHUP, SIGTERM]] {
                // A new one: that something was copied tells that the job has begun.
                let target = try scratch.image("target", size: Self.size, seed: 2)
                let child = try slow(scratch, source, target)
                for signal in signals { child.send(signal) }
                let end = try child.wait(seconds: 10)
                #expect(end.code == Code.interrupted, "\(end)")
                #expect(end.errors.contains("NOT a mirror"), "\(end)")
            }
        }

        @Test func `a reader that goes away`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.image("target", size: Self.size, seed: 2)
            let command = """
                \(RingMirror.path) full \(source) \(target) --overwrite --speed 8M \
                 --json --progress 2> >(head -c 1) \
                | head -1; echo "code ${PIPESTATUS[0]}"
                """
            let end = try Child(["bash", "-c", command], in: scratch).wait()
            // The mirror is made, and what was to be read of it was not.
            #expect(end.output.contains("code 1"), "\(end)")
            #expect(end.output.contains("\"event\":\"start\""))
            expectSame(source, target)
        }

        /// The first file that is opened gets the number of the closed stream, and must not get its
        /// text.
        @Test(arguments: [[1], [2], [0, 1, 2]] as [[CInt]])
        func `closed standard streams do not end up in the target`(closed: [CInt]) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            for (options, code) in [([], Code.done), (["--depth", "0"], Code.usage)] {
                let target = try scratch.image("target", size: Self.size, seed: 2)
                let before = try Content.fingerprint(source)
                let end = try scratch.start(
                    ["full", source, target, "--overwrite", "--json", "--progress", "--verify"]
                        + options,
                    closing: closed
                ).wait()
                // What is lost on a closed standard output is a failure of its own.
                let isLost = closed.contains(1) && code == Code.done
                #expect(end.code == (isLost ? Code.failed : code), "\(end)")
                #expect(try Content.fingerprint(source) == before)
                if code == Code.done { expectSame(source, target) }
            }
        }
    }
}

extension FileHandle {
    /// Opens a disk as mount does; negative if somebody has claimed it.
    fileprivate static func claim(_ path: String) throws -> CInt {
        open(path, O_RDWR | O_EXCL | O_CLOEXEC)
    }
}
