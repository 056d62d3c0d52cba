import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Every limit of a process from the least up: a command does its work, or says what is
    /// missing and leaves nothing that could be taken for a result. It neither hangs nor crashes.
    @Suite(
        .serialized, .timeLimit(.minutes(20)),
        .enabled(if: Needs.root && Shell.has("setpriv", "prlimit"), Needs.rootReason))
    struct Limits {
        static let size = 4 * miB
        static let page = 4096

        /// The program where every user finds it.
        private let home: Scratch
        private let program: String

        init() throws {
            home = try Scratch(mode: 0o777)
            program = home.path("ringmirror")
            try Shell.run("cp", RingMirror.path, program)
            chmod(program, 0o755)
        }

        private func scene(_ bound: Bound) throws -> BoundScene {
            let scene = try BoundScene(bound, program: program)
            _ = try scene.scratch.image("s", size: Self.size, seed: 1)
            return scene
        }

        /// Checks an end that any limit may bring about. Returns whether the command did its work.
        private func check(_ end: Child.End, _ what: String) -> Bool {
            if end.code == Code.done { return true }
            #expect([Code.failed, Code.usage, Code.refused].contains(end.code), "\(what): \(end)")
            #expect(end.errors.contains("ringmirror: "), "\(what): \(end)")
            return false
        }

        /// Makes a mirror below each bound, several at a time. Returns how many were made.
        private func mirror(_ bounds: [Bound], io: String) throws -> Int {
            var made = 0
            var rest = bounds[...]
            while !rest.isEmpty {
                let started = try rest.prefix(4).map { bound in
                    let scene = try scene(bound)
                    let command = ["full", "s", "t", "--create", "--io", io]
                    return (bound, scene, try scene.start(command))
                }
                rest = rest.dropFirst(4)
                for (bound, scene, child) in started {
                    let end = try child.wait(seconds: 30)
                    let target = scene.scratch.path("t")
                    if check(end, "\(bound) \(io)") {
                        made += 1
                    } else if FileManager.default.fileExists(atPath: target) {
                        #expect(end.errors.contains("NOT a mirror"), "\(bound) \(io): \(end)")
                        unlink(target)
                    }
                    if end.code != Code.done {
                        let later = try scene.start(
                            ["full", "s", "t", "--create"], isBounded: false
                        ).wait()
                        #expect(later.code == Code.done, "\(bound) \(io): \(later)")
                    }
                    expectSame(scene.scratch.path("s"), target)
                }
            }
            return made
        }

        /// Makes mirrors by both methods, and sees to it that some are made: a bound that is never
        /// enough would show nothing. Whether all are depends on the machine.
        private func sweep(_ bounds: [Bound]) throws {
            for io in ["uring", "threads"] {
                #expect(try mirror(bounds, io: io) > 0, "\(io)")
            }
        }

        @Test func `tasks of a user`() throws {
            let bounds = Bound.each(.nproc, 1...16)
            for io in ["uring", "threads"] { #expect(try mirror(bounds, io: io) == bounds.count) }
        }

        @Test(.enabled(if: BoundScene.groups != nil, "needs control groups for tasks"))
        func `tasks of a control group`() throws {
            let bounds = Bound.each(.pids, 1...16)
            for io in ["uring", "threads"] { #expect(try mirror(bounds, io: io) == bounds.count) }
        }

        /// Memory as a filesystem does no call at once, and the kernel has no thread for them. It
        /// takes a tenth of a second to find that out, each time: the ring has to learn it.
        @Test func `thousands of requests with one task`() throws {
            let scene = try scene(Bound(kind: .nproc, value: 1))
            let memory = try scene.scratch.mount("tmpfs", type: "tmpfs")
            chmod(memory, 0o777)
            try Shell.run("cp", scene.scratch.path("s"), memory + "/s")
            chmod(memory + "/s", 0o666)
            let command = [
                "full", memory + "/s", memory + "/t", "--create", "--io", "uring",
                "--request-size", "4K", "--verify",
            ]
            let end = try scene.start(command).wait(seconds: 60)
            #expect(end.code == Code.done, "\(end)")
            expectSame(memory + "/s", memory + "/t")
        }

        /// Below 4 the loader of programs has no descriptor left.
        @Test func `open descriptors`() throws { try sweep(Bound.each(.nofile, 4...20)) }

        @Test func `memory that may be locked`() throws {
            try sweep(Bound.each(.memlock, stride(from: 0, through: 65_536, by: 8192)))
        }

        @Test func `the size of a file`() throws {
            let whole = Int(Self.size)
            // What the program says goes to files as well.
            try sweep(Bound.each(.fsize, [4096, whole / 2, whole - 1, whole]))
        }

        /// With less, the loader of programs may not get so far as to say so.
        @Test func `the stack of the first thread`() throws {
            try sweep(Bound.each(.stack, [64, 128, 512, 1024, 8192].map { $0 << 10 }))
        }

        @Test(arguments: [Bound.Kind.addressSpace, .data])
        func `memory of a process`(kind: Bound.Kind) throws {
            let least = try leastMemory(kind)
            let end = least + 32 << 20
            try sweep(Bound.each(kind, stride(from: least, through: end, by: 3 << 20)))
            // What the start itself takes is refused in small steps.
            for value in stride(from: least - 1 << 20, to: least, by: 16 * Self.page) {
                let bound = Bound(kind: kind, value: value)
                let end = try scene(bound).start(["info", "s", "--json"]).wait(seconds: 30)
                // 127 and signals before the program begins are the loader's.
                guard end.errors.hasPrefix("ringmirror: ") else { continue }
                #expect(
                    end.code == Code.failed && end.errors.contains("ulimit"), "\(bound): \(end)")
                guard !end.output.isEmpty else { continue }
                let event = try end.report()
                #expect(event.text("code") == "outOfMemory", "\(end)")
            }
        }

        /// The least limit with which the program begins.
        private func leastMemory(_ kind: Bound.Kind) throws -> Int {
            var (few, enough) = (0, 1 << 30)
            while enough - few > 64 << 10 {
                let half = (few + enough) / 2 & ~(Self.page - 1)
                let end = try scene(Bound(kind: kind, value: half)).start(["--version"]).wait()
                if end.code == Code.done { enough = half } else { few = half }
            }
            return enough
        }

        /// Commands, each with those that have to come before it.
        static let commands: [(run: [String], before: [[String]])] = [
            (["compare", "s", "s2"], []), (["info", "s"], []),
            (["bitmap", "add", "s", "n"], []), (["bitmap", "list", "s"], []),
            (["full", "s", "t.qcow2", "--create"], []),
            (["info", "q.qcow2"], [["full", "s", "q.qcow2", "--create"]]),
            (
                ["incremental", "s", "old", "--bitmap", "m"],
                [["bitmap", "add", "s", "m"], ["full", "s", "old", "--create", "--bitmap", "m"]]
            ),
        ]

        @Test(arguments: commands.indices)
        func `other commands`(index: Int) throws {
            let command = Self.commands[index]
            let bounds =
                Bound.each(.nproc, [1]) + Bound.each(.nofile, [4, 6, 8, 9, 10, 12])
                + Bound.each(.fsize, [4096])
            for bound in bounds {
                let scene = try scene(bound)
                try Shell.run("cp", scene.scratch.path("s"), scene.scratch.path("s2"))
                for setUp in command.before {
                    let end = try scene.start(setUp, isBounded: false).wait()
                    #expect(end.code == Code.done, "\(end)")
                }
                let end = try scene.start(command.run).wait(seconds: 30)
                guard !check(end, "\(bound)") else { continue }
                unlink(scene.scratch.path("t.qcow2"))
                let later = try scene.start(command.run, isBounded: false).wait()
                #expect(later.code == Code.done, "\(bound): \(later)")
            }
        }
    }
}
