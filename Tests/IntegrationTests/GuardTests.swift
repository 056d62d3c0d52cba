import Foundation
import TestSupport
import Testing

extension Integration {
    /// What must never be written to, against the real thing: exit 3, and not a byte changed.
    @Suite(
        .serialized, .enabled(if: Needs.loops, Needs.loopsReason), .timeLimit(.minutes(20)))
    struct Guards {
        static let size = 16 * miB

        /// Runs a mirror that must be refused for a reason that is named, and touch nothing.
        private func expectRefused(
            _ scratch: Scratch, _ arguments: [String], naming words: [String],
            untouched: [String], sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            sync()
            let before = try untouched.map { try Content.fingerprint($0) }
            for options in [[], ["--overwrite", "--allow-larger", "--allow-source-in-use"]] {
                let end = try scratch.run(["full"] + arguments + options)
                #expect(end.code == Code.refused, "\(end)", sourceLocation: sourceLocation)
                for word in words {
                    #expect(
                        end.errors.contains(word), "\(word) in \(end)",
                        sourceLocation: sourceLocation)
                }
            }
            sync()
            let after = try untouched.map { try Content.fingerprint($0) }
            #expect(before == after, sourceLocation: sourceLocation)
        }

        private func filesystem(on path: String) throws {
            try Shell.run(
                "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `a mounted disk`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try scratch.loop(size: Self.size)
            try filesystem(on: disk.path)
            let point = try scratch.mount(disk.path)
            try expectRefused(
                scratch, [source, disk.path], naming: [disk.path, point, "umount"],
                untouched: [disk.backing])
        }

        /// By relative names, an overlay's layers can't be found.
        @Test(.enabled(if: Shell.has("mkfs.ext4")), arguments: ["upper", "lower"], [true, false])
        func `a file of an overlay and of its layer`(layer: String, isAbsolute: Bool) throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: Self.size)
            try filesystem(on: disk.path)
            let folder = try scratch.mount(disk.path)
            for name in ["upper", "lower", "work"] { try Shell.run("mkdir", "\(folder)/\(name)") }
            let shown = scratch.path("overlay")
            try Shell.run("mkdir", shown)
            try Content.write(1, to: "\(folder)/\(layer)/file", 0..<miB)
            let start = isAbsolute ? folder + "/" : ""
            let options = ["lower", "upper", "work"].map { "\($0)dir=\(start)\($0)" }
            try Shell.run(
                "sh", "-c",
                "cd \(folder) && mount -t overlay -o \(options.joined(separator: ",")) o \(shown)")
            defer { _ = try? Shell.run("umount", shown) }
            let stored = "\(folder)/\(layer)/file"
            for sides in [[shown + "/file", stored], [stored, shown + "/file"]] {
                // A target in a lower layer is copied up when it is opened.
                if layer == "lower", sides[1] != stored { continue }
                try expectRefused(scratch, sides, naming: ["same storage"], untouched: [stored])
            }
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `a mounted partition, and the disk that it is on`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: 8 * miB, seed: 1)
            let whole = try scratch.image("whole", size: Self.size, seed: 1)
            let disk = try scratch.loop(size: Self.size)
            let partition = try disk.addPartition(1, start: 2048, sectors: 16384)
            try filesystem(on: partition)
            let point = try scratch.mount(partition)
            for (image, target) in [(source, partition), (whole, disk.path)] {
                try expectRefused(
                    scratch, [image, target], naming: [partition, point],
                    untouched: [disk.backing])
            }
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `an image that is mounted through a loop`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try scratch.loop(size: Self.size)
            try filesystem(on: disk.path)
            _ = try scratch.mount(disk.path)
            try expectRefused(
                scratch, [source, disk.backing], naming: [disk.path, "losetup -d"],
                untouched: [disk.backing])
        }

        @Test(.enabled(if: Shell.has("mkswap", "swapon")))
        func `swap space, disk and file`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try scratch.loop(size: Self.size)
            let file = try scratch.image("swapfile", size: Self.size, seed: 2)
            for (swap, content) in [(disk.path, disk.backing), (file, file)] {
                try Shell.run("mkswap", swap)
                try Shell.run("swapon", swap)
                scratch.onCleanup { _ in _ = try? Shell.run("swapoff", swap) }
                // The kernel may swap pages out to it meanwhile; they never go into the header.
                let header = try Shell.run("sh", "-c", "head -c 4096 \(content) | sha256sum")
                try expectRefused(
                    scratch, [source, swap], naming: ["swap", "swapoff"], untouched: [])
                #expect(
                    try Shell.run("sh", "-c", "head -c 4096 \(content) | sha256sum") == header)
                try Shell.run("swapoff", swap)
            }
        }

        @Test func `an image and a disk that a loop stands on`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let lower = try scratch.loop("lower", size: Self.size, seed: 2)
            try expectRefused(
                scratch, [source, lower.backing], naming: [lower.path], untouched: [lower.backing])
            let upper = try scratch.loop(over: lower.path)
            try expectRefused(
                scratch, [source, lower.path], naming: [upper.path], untouched: [lower.backing])
        }

        @Test func `the source by another name`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let symbolic = scratch.path("symbolic")
            let hard = scratch.path("hard")
            try Shell.run("ln", "-s", source, symbolic)
            try Shell.run("ln", source, hard)
            let relative =
                "\(scratch.path)/./../\((scratch.path as NSString).lastPathComponent)/source"
            for other in [source, symbolic, hard, relative] {
                for pair in [[source, other], [other, source]] {
                    try expectRefused(
                        scratch, pair, naming: ["same storage"], untouched: [source])
                }
            }
        }

        @Test func `a loop over the source, both ways`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop("source", size: Self.size, seed: 1)
            for pair in [[disk.backing, disk.path], [disk.path, disk.backing]] {
                try expectRefused(scratch, pair, naming: [disk.path], untouched: [disk.backing])
            }
            let second = try scratch.loop(over: disk.backing)
            try expectRefused(
                scratch, [disk.path, second.path], naming: [], untouched: [disk.backing])
        }

        @Test func `a partition of the source, and the disk of the source`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop("source", size: Self.size, seed: 1)
            let partition = try disk.addPartition(1, start: 2048, sectors: 16384)
            try expectRefused(
                scratch, [disk.path, partition], naming: [partition], untouched: [disk.backing])
            try expectRefused(
                scratch, [partition, disk.path], naming: [disk.path], untouched: [disk.backing])
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `an image on a filesystem of the target disk`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: 32 * miB)
            try filesystem(on: disk.path)
            let point = try scratch.mount(disk.path)
            let source = point + "/source"
            try Content.write(1, to: source, 0..<miB)
            try expectRefused(
                scratch, [source, disk.path], naming: [disk.path], untouched: [source])
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `a signature asks for --overwrite`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let disk = try scratch.loop(size: Self.size)
            for (target, content) in [
                (disk.path, disk.backing), (scratch.path("image"), scratch.path("image")),
            ] {
                if target != disk.path { try scratch.file("image", size: Self.size) }
                try filesystem(on: target)
                sync()
                let before = try Content.fingerprint(content)
                let end = try scratch.run("full", source, target, "--json")
                #expect(end.code == Code.refused, "\(end)")
                #expect(end.errors.contains("ext4") && end.errors.contains("--overwrite"))
                #expect(try end.report().kind == "error")
                #expect(try end.report().number("exitCode") == 3)
                #expect(try Content.fingerprint(content) == before)
                try scratch.mirror(source, target, "--overwrite")
                expectSame(source, target)
            }
        }

        /// Two names in the wrong order.
        @Test(arguments: [false, true])
        func `data asks for --overwrite`(isDisk: Bool) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let target = isDisk ? try scratch.loop(over: image).path : image
            let before = try Content.fingerprint(image)
            let end = try scratch.run("full", source, target, "--json")
            #expect(end.code == Code.refused, "\(end)")
            let event = try end.report()
            #expect(event.text("code") == "holdsData", "\(end)")
            #expect(event.text("message")?.contains("\(Self.size) bytes") == true, "\(end)")
            #expect(try Content.fingerprint(image) == before)
            try scratch.mirror(source, target)
            expectSame(source, target)
            // Again, over the mirror: it is data all the same.
            #expect(try scratch.run("full", source, target).code == Code.refused)
        }

        @Test(.enabled(if: Shell.has("sfdisk")))
        func `a partition table asks for --overwrite`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = try scratch.file("target", size: Self.size)
            try Shell.run("sh", "-c", "echo 'label: gpt' | sfdisk -q \(target)")
            let end = try scratch.run("full", source, target)
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("gpt"), "\(end)")
            try scratch.mirror(source, target, "--overwrite")
            expectSame(source, target)
        }

        @Test func `missing and existing targets`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let missing = scratch.path("missing")
            try expectRefused(scratch, [source, missing], naming: ["--create"], untouched: [])
            #expect(!FileManager.default.fileExists(atPath: missing))
            let existing = try scratch.image("existing", size: Self.size, seed: 2)
            try expectRefused(
                scratch, [source, existing, "--create"], naming: ["exists"], untouched: [existing])
            // A link that leads nowhere is neither there nor can it be made.
            let dangling = scratch.path("dangling")
            try Shell.run("ln", "-s", missing, dangling)
            let end = try scratch.run("full", source, dangling, "--create")
            #expect(end.code == Code.usage, "\(end)")
            #expect(end.errors.contains("symbolic link"), "\(end)")
            #expect(!FileManager.default.fileExists(atPath: missing))
        }

        @Test func `no file is made under /dev`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            for name in ["/dev/ringmirror-no-such-disk", "/dev/../dev/ringmirror-no-such-disk"] {
                for options in [[], ["--create"]] {
                    let end = try scratch.run(["full", source, name] + options)
                    #expect(end.code == Code.refused, "\(end)")
                    #expect(!FileManager.default.fileExists(atPath: name))
                    unlink(name)
                }
            }
        }

        @Test func `a target that another process writes`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try scratch.loop("disk", size: Self.size, seed: 2)
            for (target, content) in [(image, image), (disk.path, disk.backing)] {
                let writer = try Child(
                    ["sh", "-c", "exec 9<>\"$0\"; echo open; exec sleep 100", target], in: scratch)
                #expect(writer.wait(until: { $0.output.contains("open") }))
                try expectRefused(
                    scratch, [source, target], naming: ["\(writer.pid)"], untouched: [content])
                writer.kill(group: SIGKILL)
                try scratch.mirror(source, target)
                expectSame(source, target)
            }
        }

        /// What reads only, has no descriptor that could write: its locks alone tell.
        @Test(.enabled(if: Shell.has("qemu-storage-daemon", "qemu-img", "qemu-io")))
        func `an image that a virtual machine has open`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("image", size: Self.size, seed: 2)
            for mode in ["on", "off"] {
                let ready = scratch.path("ready-\(mode)")
                let machine = try Child(
                    [
                        "qemu-storage-daemon", "--pidfile", ready,
                        "--nbd-server", "addr.type=unix,addr.path=\(ready).socket",
                        "--blockdev",
                        "driver=file,filename=\(image),node-name=disk,read-only=\(mode)",
                        "--export",
                        "type=nbd,id=e,node-name=disk,writable=\(mode == "on" ? "off" : "on")",
                    ], in: scratch)
                #expect(
                    machine.wait(until: { _ in FileManager.default.fileExists(atPath: ready) }))
                try expectRefused(
                    scratch, [source, image], naming: [image, "\(machine.pid)"],
                    untouched: [image])
                let copy = scratch.path("copy-\(mode)")
                let end = try scratch.run("full", image, copy, "--create")
                #expect(end.code == (mode == "on" ? Code.done : Code.refused), "\(end)")
                #expect(FileManager.default.fileExists(atPath: copy) == (mode == "on"))
                machine.kill(group: SIGKILL)
            }
            try scratch.mirror(source, image)
            expectSame(source, image)
        }

        @Test(.enabled(if: Shell.has("qemu-io")))
        func `a virtual machine stays away while a job runs`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let job = try scratch.start([
                "full", source, image, "--overwrite", "--speed", "6M", "--json",
            ])
            #expect(job.wait(until: { $0.output.contains("start") }))
            for path in [source, image] {
                let error = #expect(throws: Shell.Failure.self) {
                    try Shell.run("qemu-io", "-f", "raw", "-c", "write 0 64k", path)
                }
                #expect(error?.output.contains("lock") == true)
            }
            #expect(try job.wait().code == Code.done)
            expectSame(source, image)
        }

        @Test func `two mirrors onto one target`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let other = try scratch.image("other", size: Self.size, seed: 3)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try scratch.loop("disk", size: Self.size, seed: 2)
            for target in [image, disk.path] {
                let first = try scratch.start([
                    "full", source, target, "--overwrite", "--speed", "2M", "--json",
                ])
                #expect(first.wait(until: { $0.output.contains("start") }))
                let second = try scratch.run("full", other, target, "--overwrite")
                #expect(second.code == Code.refused, "\(second)")
                #expect(second.errors.contains("\(first.pid)"), "\(second)")
                #expect(try first.wait().code == Code.done)
                expectSame(source, target)
            }
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `what is read-only`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.image("target", size: Self.size, seed: 2)
            let disk = try scratch.loop(over: image, readOnly: true)
            try expectRefused(
                scratch, [source, disk.path], naming: ["read-only"], untouched: [image])
            disk.detach()
            let root = try TestFilesystem.ext4.mount(in: scratch)
            try Content.write(2, to: root + "/target", 0..<Self.size)
            try Shell.run("mount", "-o", "remount,ro", root)
            try expectRefused(
                scratch, [source, root + "/target"], naming: ["read-only"],
                untouched: [root + "/target"])
        }

        @Test(.enabled(if: Shell.has("mkfs.ext4")))
        func `a source in use asks for its option`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: Self.size)
            try filesystem(on: disk.path)
            _ = try scratch.mount(disk.path)
            let target = scratch.path("target")
            let end = try scratch.run("full", disk.path, target, "--create")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("--allow-source-in-use"))
            #expect(!FileManager.default.fileExists(atPath: target))
            sync()
            try scratch.mirror(disk.path, target, "--create", "--allow-source-in-use")
            expectSame(disk.backing, target)
        }
    }
}

extension Processes {
    /// Paths and options that can't be meant.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Usage {
        @Test func `paths that are neither disk nor image`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("image", size: miB, seed: 1)
            let before = try Content.fingerprint(image)
            let pipe = scratch.path("pipe")
            #expect(mkfifo(pipe, 0o600) == 0)
            for odd in [pipe, "/dev/null", "/dev/zero", scratch.path, "/proc/version/x"] {
                let from = try scratch.start(["full", odd, image]).wait(seconds: 5)
                #expect(from.code == Code.usage, "\(odd) as source: \(from)")
                let to = try scratch.start(["full", image, odd]).wait(seconds: 5)
                #expect(to.code == Code.usage, "\(odd) as target: \(to)")
                #expect(from.errors.contains(odd) && to.errors.contains(odd))
                let info = try scratch.start(["info", odd]).wait(seconds: 5)
                #expect(info.code == Code.usage, "\(odd) for info: \(info)")
                let compare = try scratch.start(["compare", image, odd]).wait(seconds: 5)
                #expect(compare.code == Code.usage, "\(odd) for compare: \(compare)")
            }
            let missing = try scratch.run("full", scratch.path("missing"), image)
            #expect(missing.code == Code.usage, "\(missing)")
            #expect(missing.errors.contains("no such file"))
            #expect(try Content.fingerprint(image) == before)
        }

        @Test(
            .enabled(if: Needs.loops, Needs.loopsReason))
        func `a disk without a medium`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("image", size: miB, seed: 1)
            let disk = try scratch.loop(size: 0)
            let from = try scratch.run("full", disk.path, image)
            #expect(from.code == Code.usage, "\(from)")
            #expect(from.errors.contains("no medium"), "\(from)")
            let to = try scratch.run("full", image, disk.path, "--overwrite")
            #expect(to.code == Code.usage || to.code == Code.refused, "\(to)")
            #expect(to.errors.contains(disk.path), "\(to)")
        }

        @Test(arguments: [
            ["--depth", "0"], ["--depth", "1025"], ["--depth", "x"], ["--request-size", "5000"],
            ["--request-size", "2K"], ["--request-size", "32M"], ["--request-size", "-4K"],
            ["--speed", "abc"], ["--speed", "0"], ["--speed", "-1"], ["--rings", "0"],
            ["--rings", "65"], ["--zeroes", "maybe"], ["--cache", "none"],
            ["--on-source-error", "panic"], ["--depth", "1024", "--request-size", "16M"],
            ["--no-such-option"], ["a-third-path"],
        ])
        func `options that can't be`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = try scratch.image("target", size: miB, seed: 2)
            let before = try Content.fingerprint(target)
            let end = try scratch.run(["full", source, target, "--overwrite"] + options)
            #expect(end.code == Code.usage, "\(end)")
            #expect(!end.errors.isEmpty)
            #expect(try Content.fingerprint(target) == before)
            // A file that nobody can use must not stay behind, or the corrected command is refused.
            let new = scratch.path("new")
            let create = try scratch.run(["full", source, new, "--create"] + options)
            #expect(create.code == Code.usage, "\(create)")
            #expect(!FileManager.default.fileExists(atPath: new))
        }

        @Test func `commands that can't be`() throws {
            let scratch = try Scratch()
            for arguments in [
                ["mirror"], ["full"], ["full", "one"], ["compare", "one"], ["info"],
                ["full", "--json"],
            ] {
                let end = try scratch.run(arguments)
                #expect(end.code == Code.usage, "\(arguments): \(end)")
                #expect(end.errors.contains("Usage") || end.errors.contains("usage"), "\(end)")
            }
        }
    }
}
