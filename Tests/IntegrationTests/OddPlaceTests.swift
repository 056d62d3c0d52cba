import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
    /// What there is around disks and files on some machines, and what happens to them meanwhile.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct OddPlaces {
        static let size = 8 * miB

        /// Runs a slow full mirror in which something happens once it has begun to write.
        private func disturbed(
            _ scratch: Scratch, _ source: String, _ happen: () throws -> Void
        ) throws -> Child.End {
            let target = scratch.path("target")
            let child = try scratch.start([
                "full", source, target, "--create", "--speed", "4M", "--request-size", "256K",
                "--json",
            ])
            let hasBegun = child.wait(until: { _ in
                (try? Content.allocated(target)).map { $0 >= 256 * kiB } ?? false
            })
            #expect(hasBegun && child.isRunning, "\(child.errors)")
            try happen()
            return try child.wait()
        }

        private func expectWrittenMeanwhile(
            _ end: Child.End, sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            #expect(end.code == Code.failed, "\(end)", sourceLocation: sourceLocation)
            let report = try end.report()
            #expect(
                report.text("code") == "writtenMeanwhile" && report.text("claim") == "notAMirror",
                "\(end)", sourceLocation: sourceLocation)
        }

        /// As in a root that is an overlay of `/`: what can't be followed is said.
        @Test(.enabled(if: Needs.loops && Shell.has("mkfs.ext4"), Needs.loopsReason))
        func `an overlay whose layer's name leads to itself`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: 4 * Self.size)
            try Shell.run("mkfs.ext4", "-q", "-F", disk.path)
            let folder = try scratch.mount(disk.path)
            for name in ["upper", "work", "lower"] { try Shell.run("mkdir", "\(folder)/\(name)") }
            let options = ["lower", "upper", "work"].map { "\($0)dir=\(folder)/\($0)" }
            let shown = try scratch.mount(
                "overlay", type: "overlay", options: options.joined(separator: ","))
            try Shell.run("mount", "--bind", shown, folder + "/upper")
            defer { _ = try? Shell.run("umount", folder + "/upper") }
            try Content.write(1, to: shown + "/source", 0..<miB)
            let target = scratch.path("target")
            let end = try scratch.run("full", shown + "/source", target, "--create")
            #expect(end.code == Code.done, "\(end)")
            #expect(end.errors.contains("can't be seen from here"), "\(end)")
            #expect(end.output.contains("as far as can be known"), "\(end)")
            expectSame(shown + "/source", target)
        }

        /// An image consists of all files that it reads from.
        @Test(.enabled(if: QEMU.isThere, QEMU.reason), arguments: ["backing", "data"])
        func `a file below the source that is written meanwhile`(kind: String) throws {
            let scratch = try Scratch()
            let image = scratch.path("image.qcow2")
            let below = try scratch.image("below", size: Self.size, seed: 1)
            if kind == "backing" {
                _ = try QEMU.create(image, over: (below, "raw"))
            } else {
                try QEMU.img(
                    "create", "-q", "-f", "qcow2", "-o",
                    "data_file=\(scratch.path("data")),data_file_raw=on", image, "\(Self.size)")
                try QEMU.io(image, ["write -P 3 0 8M"])
            }
            let end = try disturbed(scratch, image) {
                let path = kind == "backing" ? below : scratch.path("data")
                try Content.write(9, to: path, 0..<4 * kiB)
            }
            try expectWrittenMeanwhile(end)
        }

        /// A disk has no times; the kernel counts what is written to it.
        @Test(.enabled(if: Needs.loops, Needs.loopsReason))
        func `a source disk that is written meanwhile`() throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: Self.size, seed: 1)
            let other = try scratch.image("other", size: 4 * kiB, seed: 2)
            let end = try disturbed(scratch, source.path) {
                try Shell.run(
                    "dd", "if=\(other)", "of=\(source.path)", "bs=4k", "oflag=direct",
                    "conv=notrunc", "status=none")
            }
            try expectWrittenMeanwhile(end)
        }

        /// nbdfuse makes a trim of a punched hole, and a trim promises nothing.
        @Test(.enabled(if: Needs.fuse, Needs.fuseReason))
        func `a filesystem that does not zero what is punched`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: Self.size)
            let image = try scratch.image("image", size: Self.size, seed: 2)
            let disk = try NBDDisk.ignoringTrims(image, in: scratch)
            let end = try scratch.run("full", source, disk.path, "--overwrite")
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, image)
        }

        /// What a killed process has on its way still lands after its death.
        @Test(.enabled(if: Needs.fuse && Needs.loops, Needs.fuseReason))
        func `writes of a killed process are waited for`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let image = try scratch.file("image", size: Self.size)
            let disk = try NBDDisk.filtered(image, ["delay"], ["wdelay=2"], in: scratch)
            let target = try scratch.loop(over: disk.path, directIO: true).path
            let command = ["full", source, target, "--overwrite"]
            let child = try scratch.start(command + ["--speed", "4M", "--request-size", "256K"])
            let hasBegun = child.wait(until: { _ in
                (try? Content.allocated(image)).map { $0 >= 256 * kiB } ?? false
            })
            #expect(hasBegun && child.isRunning, "\(child.errors)")
            child.send(SIGKILL)
            let end = try scratch.run(command + ["--json"])
            // Refused it may not be, and what lands late must not be on top. Whether it had to
            // wait, and says so, depends on how much was on its way.
            #expect(end.code == Code.done, "\(end)")
            expectSame(source, target)
            sleep(3)
            expectSame(source, target)
        }

        /// A disk that is plugged in again, or a machine that was started again, has other numbers.
        @Test(.enabled(if: Needs.loops, Needs.loopsReason))
        func `files on a disk that has another number are the same`() throws {
            let scratch = try Scratch()
            let image = try scratch.file("disk", size: 64 * miB)
            try TestFilesystem.ext4.make(on: image)
            let folder = scratch.path("mounted")
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            let numbers = try [scratch.loop(over: image), scratch.loop(over: image)]
            func mount(_ number: Int) throws {
                try Shell.run("mount", numbers[number].path, folder)
            }
            func unmount() throws { try Shell.run("umount", folder) }
            defer { _ = try? Shell.run("umount", "-l", folder) }

            try mount(0)
            let (source, target) = (folder + "/source", folder + "/target")
            try Content.write(1, to: source, 0..<Self.size)
            try scratch.bitmap("add", source, "n")
            try scratch.mirror(source, target, "--create", "--bitmap", "n")
            try unmount()

            try mount(1)
            try Content.write(2, to: source, 0..<64 * kiB)
            try scratch.bitmap("mark", source, "n", "0+64K")
            let report = try scratch.increment(source, target, "--bitmap", "n")
            #expect(report.number("planned") == 64 * kiB, "\(report)")
            #expect(report.text("claim") == "mirrorByBitmap", "\(report)")
            // What a restore writes there is marked, too.
            let older = try scratch.image("older", size: Self.size, seed: 3)
            try scratch.mirror(older, source, "--overwrite")
            try unmount()

            try mount(0)
            let restored = try scratch.increment(source, target, "--bitmap", "n")
            #expect(restored.number("planned") == Self.size, "\(restored)")
            expectSame(source, target)
            try unmount()
        }

        @Test(.enabled(if: Needs.root, Needs.rootReason))
        func `the advice for a store that can't be written helps`() throws {
            let scratch = try Scratch()
            let folder = try scratch.mount("none", type: "tmpfs")
            let source = folder + "/source"
            try Content.write(1, to: try scratch.file("source", size: miB), 0..<miB)
            try FileManager.default.copyItem(atPath: scratch.path("source"), toPath: source)
            try Shell.run("mount", "-o", "remount,ro", folder)
            let end = try scratch.run("bitmap", "add", source, "n")
            #expect(end.code == Code.usage, "\(end)")
            #expect(end.errors.contains("--bitmaps"), "\(end)")
            // That is for disks.
            #expect(!end.errors.contains("RINGMIRROR_STATE_DIR"), "\(end)")
            try scratch.bitmap("add", source, "n", "--bitmaps", scratch.path("store"))
        }

        @Test func `a target that was made anew leaves nothing to be resumed`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let child = try scratch.start([
                "full", source, target, "--create", "--speed", "2M", "--request-size", "256K",
                "--checkpoint", "0.1",
            ])
            let isRecorded = child.wait(until: { _ in
                (try? scratch.run("bitmap", "list", source).output.contains("running:")) ?? false
            })
            #expect(isRecorded, "\(child.errors)")
            child.send(SIGKILL)
            try child.wait()
            let before = try scratch.bitmap("list", source)
            #expect(before.output.contains("--resume"), "\(before)")
            rename(target, target + ".old")
            try scratch.file("target", size: Self.size)
            try scratch.mirror(source, target)
            let list = try scratch.bitmap("list", source)
            #expect(!list.output.contains("--resume"), "\(list)")
        }
    }
}
