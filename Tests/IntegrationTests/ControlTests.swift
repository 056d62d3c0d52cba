import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Jobs that are asked and steered by other processes while they run.
    @Suite(.serialized, .timeLimit(.minutes(10)))
    struct Control {
        /// A job so slow that it runs until it is told otherwise, and the directory of its socket.
        private final class Scene {
            let scratch: Scratch
            let run: String
            private var made = 0

            init() throws {
                scratch = try Scratch(mode: 0o777)
                run = scratch.path("run")
                try scratch.image("source", size: 16 * miB, seed: 1)
            }

            var prefix: [String] { ["env", "RINGMIRROR_RUN_DIR=\(run)"] }

            func socket(_ child: Child) -> String { "\(run)/\(child.pid).sock" }

            /// Starts a mirror, and waits for its socket.
            func job(
                _ options: String..., speed: String = "512K"
            ) throws -> (child: Child, target: String) {
                made += 1
                let target = scratch.path("target-\(made)")
                let child = try scratch.start(
                    [
                        "full", scratch.path("source"), target, "--create", "--request-size",
                        "64K", "--speed", speed,
                    ] + options, prefix: prefix)
                #expect(
                    child.wait(until: {
                        FileManager.default.fileExists(atPath: self.socket($0))
                    }), "\(child.errors)")
                return (child, target)
            }

            func ask(_ words: String...) throws -> Child.End {
                try scratch.run(["job"] + words + ["--json"], prefix: prefix)
            }
        }

        @Test func `a job is listed, paused, resumed, sped up and told to stop`() throws {
            let scene = try Scene()
            let (child, target) = try scene.job()
            let list = try scene.ask("list")
            #expect(list.code == Code.done && list.events.count == 1, "\(list)")
            let job = try #require(list.events.first)
            #expect(job.kind == "jobStatus" && job.number("pid") == Int64(child.pid))
            #expect(job.text("command") == "full" && job.text("kind") == "mirror")
            #expect(job.text("source") == scene.scratch.path("source"))
            #expect(job.text("target") == target && job.number("planned") == 16 * miB)
            #expect(job.number("speedLimit") == 512 * kiB)
            let paused = try scene.ask("pause")
            #expect(paused.events.last?.text("phase") == "paused", "\(paused)")
            #expect(try scene.ask("status").events.last?.flag("paused") == true)
            #expect(try scene.ask("pause", "\(child.pid)").code == Code.done)
            #expect(try scene.ask("resume").events.last?.text("phase") == "running")
            #expect(try scene.ask("speed", "1M").events.last?.number("speedLimit") == miB)
            let free = try scene.ask("speed", "\(child.pid)", "unlimited")
            #expect(free.code == Code.done && free.events.last?.number("speedLimit") == nil)
            #expect(try child.wait().code == Code.done)
            expectSame(scene.scratch.path("source"), target)
            #expect(try scene.ask("list").output.isEmpty)
        }

        @Test func `a job that is cancelled ends as one that is interrupted`() throws {
            let scene = try Scene()
            let (child, target) = try scene.job()
            #expect(try scene.ask("cancel").code == Code.done)
            let end = try child.wait()
            #expect(end.code == Code.interrupted, "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            #expect(!FileManager.default.fileExists(atPath: scene.socket(child)))
            try scene.scratch.mirrorOnwards(
                ["full", scene.scratch.path("source"), target, "--resume"])
        }

        @Test func `people read how a job is`() throws {
            let scene = try Scene()
            let (child, target) = try scene.job()
            let list = try scene.scratch.run(["job", "list"], prefix: scene.prefix)
            #expect(list.output.hasPrefix("PID "), "\(list)")
            #expect(list.output.contains("\(child.pid)") && list.output.contains(target))
            let status = try scene.scratch.run(["job", "status"], prefix: scene.prefix)
            #expect(status.output.contains("can do      pause, resume, speed, cancel"), "\(status)")
            let pause = try scene.scratch.run(["job", "pause"], prefix: scene.prefix)
            #expect(pause.output.hasSuffix("(full to \(target)): paused\n"), "\(pause)")
            child.send(SIGTERM)
            try child.wait()
            let none = try scene.scratch.run(["job", "list"], prefix: scene.prefix)
            #expect(none.code == Code.done && none.output == "no jobs\n", "\(none)")
        }

        @Test func `which of several jobs is meant has to be said`() throws {
            let scene = try Scene()
            let (first, _) = try scene.job()
            let (second, _) = try scene.job()
            #expect(try scene.ask("list").events.count == 2)
            let end = try scene.ask("pause")
            #expect(end.code == Code.usage && end.errors.contains("\(second.pid)"), "\(end)")
            #expect(end.events.last?.text("code") == "severalJobs")
            let paused = try scene.ask("pause", "\(second.pid)")
            #expect(paused.events.last?.number("pid") == Int64(second.pid), "\(paused)")
            #expect(try scene.ask("status", "\(first.pid)").events.last?.flag("paused") == false)
            for child in [first, second] { child.send(SIGKILL) }
        }

        @Test func `what means nothing is refused`() throws {
            let scene = try Scene()
            let none = try scene.ask("status")
            #expect(none.code == Code.usage && none.events.last?.text("code") == "noSuchJob")
            let (child, _) = try scene.job()
            let end = try scene.ask("complete")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.events.last?.text("code") == "wrongKind", "\(end)")
            #expect(try scene.ask("status", "\(child.pid + 1)").code == Code.usage)
            for rate in ["0", "x", "-1"] {
                let end = try scene.ask("speed", "--", rate)
                #expect(end.code == Code.usage, "\(rate): \(end)")
            }
            child.send(SIGKILL)
        }

        @Test func `what a killed job leaves is removed by the next list`() throws {
            let scene = try Scene()
            let (child, _) = try scene.job()
            child.send(SIGKILL)
            try child.wait()
            #expect(FileManager.default.fileExists(atPath: scene.socket(child)))
            // Not ours.
            try "x".write(
                toFile: scene.run + "/1.sock", atomically: false, encoding: .utf8)
            let list = try scene.ask("list")
            #expect(list.code == Code.done && list.output.isEmpty && list.errors.isEmpty, "\(list)")
            #expect(!FileManager.default.fileExists(atPath: scene.socket(child)))
            #expect(FileManager.default.fileExists(atPath: scene.run + "/1.sock"))
        }

        @Test func `a job that does not answer holds up no list`() throws {
            let scene = try Scene()
            let stopped = try (0..<3).map { _ in try scene.job().child }
            for child in stopped { child.send(SIGSTOP) }
            let (child, _) = try scene.job()
            let list = try scene.ask("list")
            #expect(list.code == Code.done, "\(list)")
            #expect(list.events.filter { $0.kind == "jobStatus" }.count == 1, "\(list)")
            #expect(list.events.filter { $0.text("code") == "jobUnanswered" }.count == 3)
            let end = try scene.ask("pause", "\(stopped[0].pid)")
            #expect(end.code == Code.failed, "\(end)")
            for child in stopped + [child] { child.kill(group: SIGKILL) }
        }

        // MARK: The socket

        @Test(arguments: [SIGINT, 0])
        func `clients hear of the end, and the socket goes with the job`(signal: CInt) throws {
            let scene = try Scene()
            let (child, _) = try scene.job(speed: signal == 0 ? "16M" : "512K")
            let watch = try #require(ControlSocket(scene.socket(child)))
            #expect(watch.line()?.number("protocol") == 1)
            let first = watch.ask(#"{"do":"watch","everyMilliseconds":50,"id":"w"}"#)
            #expect(first?.flag("ok") == true)
            if signal != 0 { child.send(signal) }
            let rest = watch.rest()
            #expect(rest.last?.text("phase") == "ended" && rest.last?.text("id") == "w")
            #expect(rest.dropLast().allSatisfy { $0.text("phase") != "ended" })
            #expect(!FileManager.default.fileExists(atPath: scene.socket(child)))
            #expect(try child.wait().code == (signal == 0 ? Code.done : Code.interrupted))
        }

        @Test func `no clients disturb a job`() throws {
            let scene = try Scene()
            let (child, target) = try scene.job(speed: "8M")
            var clients: [ControlSocket] = []
            for number in 0..<20 {
                let client = try #require(ControlSocket(scene.socket(child)))
                #expect(client.line()?.text("ringmirror") != nil)
                // Half a line, what is no text, and clients that are gone at once.
                client.send(number % 3 == 0 ? #"{"do":"stat"# : "\u{1}\n\u{FFFF}\n")
                if number % 5 != 4 { clients.append(client) }
            }
            clients.removeFirst(8)
            let other = try scene.ask("status")
            #expect(other.code == Code.done, "\(other)")
            #expect(try child.wait().code == Code.done)
            expectSame(scene.scratch.path("source"), target)
        }

        @Test func `the socket is for its owner alone`() throws {
            let scene = try Scene()
            let (child, _) = try scene.job()
            for (path, mode) in [(scene.run, mode_t(0o700)), (scene.socket(child), 0o600)] {
                var status = stat()
                #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == mode, "\(path)")
            }
            child.send(SIGKILL)
        }

        /// Nobody else's directory is used, and a job does without.
        @Test func `a link in the place of the directory makes no socket`() throws {
            let scene = try Scene()
            try FileManager.default.createDirectory(
                atPath: scene.scratch.path("elsewhere"), withIntermediateDirectories: false)
            symlink(scene.scratch.path("elsewhere"), scene.run)
            let target = scene.scratch.path("target")
            let command = ["full", scene.scratch.path("source"), target, "--create"]
            let end = try scene.scratch.run(
                command + ["--log-level", "info"], prefix: scene.prefix)
            #expect(end.code == Code.done, "\(end)")
            #expect(end.errors.contains("there is no control socket"), "\(end)")
            expectSame(scene.scratch.path("source"), target)
            unlink(target)
            let quiet = try scene.scratch.run(command, prefix: scene.prefix)
            #expect(quiet.code == Code.done && quiet.errors.isEmpty, "\(quiet)")
            let names = try FileManager.default.contentsOfDirectory(
                atPath: scene.scratch.path("elsewhere"))
            #expect(names.isEmpty)
        }

        @Test func `few descriptors are left to the job`() throws {
            let scene = try Scene()
            let end = try scene.scratch.run(
                [
                    "full", scene.scratch.path("source"), scene.scratch.path("target"),
                    "--create", "--log-level", "info",
                ], prefix: scene.prefix + ["prlimit", "--nofile=100:100"])
            #expect(end.code == Code.done && end.errors.contains("ulimit -n"), "\(end)")
        }

        // MARK: Other users

        private static let user: uid_t = 62_345
        private static let become = [
            "setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups",
            "--bounding-set=-all", "--inh-caps=-all",
        ]

        @Test(.enabled(if: Needs.root && Shell.has("setpriv"), Needs.rootReason))
        func `another user finds no job, and is not let in`() throws {
            let scene = try Scene()
            let program = scene.scratch.path("ringmirror")
            try Shell.run("cp", RingMirror.path, program)
            chmod(program, 0o755)
            let (child, _) = try scene.job()
            for words in [["cancel"], ["cancel", "\(child.pid)"], ["status"]] {
                let end = try Child(
                    scene.prefix + Self.become + [program, "job"] + words, in: scene.scratch
                ).wait()
                #expect(end.code == Code.usage && end.errors.contains("no job"), "\(end)")
            }
            #expect(child.isRunning)
            child.send(SIGKILL)
        }

        @Test(.enabled(if: Needs.root && Shell.has("setpriv"), Needs.rootReason))
        func `root finds and steers the jobs of others`() throws {
            let scene = try Scene()
            let program = scene.scratch.path("ringmirror")
            try Shell.run("cp", RingMirror.path, program)
            chmod(program, 0o755)
            chmod(scene.scratch.path("source"), 0o644)
            let place = "/tmp/ringmirror-\(Self.user)"
            defer { try? FileManager.default.removeItem(atPath: place) }
            let child = try Child(
                ["env", "-u", "XDG_RUNTIME_DIR", "-u", "RINGMIRROR_RUN_DIR"] + Self.become + [
                    program, "full", scene.scratch.path("source"),
                    scene.scratch.path("target"), "--create", "--speed", "512K",
                    "--request-size", "64K",
                ], in: scene.scratch)
            let socket = "\(place)/\(child.pid).sock"
            #expect(
                child.wait(until: { _ in FileManager.default.fileExists(atPath: socket) }),
                "\(child.errors)")
            let list = try scene.scratch.run("job", "list", "--json")
            #expect(list.events.contains { $0.number("pid") == Int64(child.pid) }, "\(list)")
            let end = try scene.scratch.run("job", "cancel", "\(child.pid)", "--json")
            #expect(end.code == Code.done, "\(end)")
            #expect(try child.wait().code == Code.interrupted)
            #expect(!FileManager.default.fileExists(atPath: socket))
        }

        // MARK: Errors

        @Test(.enabled(if: Needs.root, Needs.rootReason))
        func `a job that waits for space says so, and goes on when it is told`() throws {
            let scene = try Scene()
            let small = try scene.scratch.mount("tmpfs", type: "tmpfs", options: "size=4m")
            let child = try scene.scratch.start(
                [
                    "full", scene.scratch.path("source"), small + "/target", "--create",
                    "--on-target-error", "enospc",
                ], prefix: scene.prefix)
            #expect(
                child.wait(until: { _ in
                    (try? scene.ask("status"))?.events.last?.text("pausedBy") != nil
                }), "\(child.errors)")
            try Shell.run("mount", "-o", "remount,size=64m", small)
            #expect(try scene.ask("resume").code == Code.done)
            #expect(try child.wait().code == Code.done)
            expectSame(scene.scratch.path("source"), small + "/target")
        }
    }
}
