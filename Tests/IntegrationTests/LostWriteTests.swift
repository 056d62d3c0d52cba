import Glibc
import TestSupport
import Testing

extension Integration {
    /// A page cache that can't bring a write to the storage tells of it once, and shows the write
    /// as if it were there.
    @Suite(.enabled(if: Needs.loops, Needs.loopsReason))
    struct LostWriteTests {
        /// A filesystem whose storage is full, so that it can write only where it has written.
        private struct FullStorage {
            let folder, image: String
            private let filler: String

            init(in scratch: Scratch) throws {
                let below = try scratch.mount("tmpfs", type: "tmpfs", options: "size=72M")
                image = below + "/outer"
                filler = below + "/filler"
                try Content.write(1, to: image, 0..<64 * miB)
                try Shell.run(
                    "mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-O", "^has_journal",
                    "-E", "lazy_itable_init=0,nodiscard", image)
                folder = try scratch.mount(
                    try scratch.loop(over: image).path, options: "nodiscard")
            }

            /// Takes the storage away that a range of a file has, and all that is free.
            func takeAway(_ range: Range<Int64>, of file: String) throws {
                try Shell.run("sync", "-f", folder)
                let descriptor = open(file, O_RDONLY | O_CLOEXEC)
                defer { close(descriptor) }
                for index in (range.lowerBound / 4096)..<(range.upperBound / 4096) {
                    var block = CInt(index)
                    let fibmap = UInt(1)
                    guard ioctl(descriptor, fibmap, &block) == 0 else { throw Unmapped() }
                    try Shell.run(
                        "fallocate", "-p", "-o", "\(Int64(block) * 4096)", "-l", "4096", image)
                }
                _ = try? Shell.run("dd", "if=/dev/zero", "of=\(filler)", "bs=4k", "status=none")
            }

            func makeRoom() throws {
                try Shell.run("rm", filler)
                // What could not be written is told of here, to no harm.
                _ = try? Shell.run("sync", "-f", folder)
            }
        }

        private struct Unmapped: Error {}

        @Test(arguments: ["full", "commit"])
        func `a table that a flush has lost is not believed, and is written again`(
            how: String
        ) throws {
            let scratch = try Scratch()
            let storage = try FullStorage(in: scratch)
            let size = 8 * miB
            let source = try scratch.image("source", size: size, seed: 2)
            let target = storage.folder + "/t.qcow2"
            let empty = scratch.path("empty.qcow2")
            try Shell.run("qemu-img", "create", "-q", "-f", "qcow2", empty, "\(size)")
            try Shell.run("cp", empty, target)
            // Room for the data, so that the table alone has none.
            try Shell.run(
                "dd", "if=/dev/zero", "of=\(target)", "bs=1M", "count=12", "oflag=append",
                "conv=notrunc", "status=none")
            var command = ["full", source, target, "--overwrite"]
            if how == "commit" {
                let overlay = scratch.path("overlay.qcow2")
                try Shell.run(
                    "qemu-img", "create", "-q", "-f", "qcow2", "-b", target, "-F", "qcow2", overlay)
                try Shell.run(
                    "qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", source, overlay)
                command = ["commit", overlay]
            }
            try storage.takeAway(0x30000..<0x40000, of: target)  // the L1 table
            let failed = try scratch.run(command)
            #expect(failed.code == Code.failed, "\(failed)")
            let compared = try scratch.run("compare", source, target)
            #expect(compared.code == Code.different, "\(compared)")
            try storage.makeRoom()
            let again = try scratch.run(command)
            #expect(again.code == Code.done, "\(again)")
            try Shell.run(
                "qemu-img", "compare", "-T", "none", "-f", "raw", "-F", "qcow2", source, target)
        }

        /// The page cache of the file below a loop device shows what is on no disk.
        @Test func `a source is read from its storage`() throws {
            let scratch = try Scratch()
            let storage = try FullStorage(in: scratch)
            let file = storage.folder + "/disk"
            try Shell.run("dd", "if=/dev/zero", "of=\(file)", "bs=1M", "count=8", "status=none")
            try storage.takeAway(miB..<2 * miB, of: file)
            let disk = try scratch.loop(over: file).path
            let written = try scratch.image("written", size: 8 * miB, seed: 3)
            let writing = try? Shell.run(
                "dd", "if=\(written)", "of=\(disk)", "bs=1M", "conv=notrunc,fsync",
                "status=none")
            #expect(writing == nil, "nothing was lost")
            let copy = scratch.path("copy")
            let full = try scratch.run("full", disk, copy, "--create")
            #expect(full.code == Code.done, "\(full)")
            let compared = try scratch.run("compare", disk, copy)
            #expect(compared.code == Code.done, "\(compared)")
        }

        @Test func `a comparison does not believe what was lost`() throws {
            let scratch = try Scratch()
            let storage = try FullStorage(in: scratch)
            let size = 8 * miB
            let source = try scratch.image("source", size: size, seed: 2)
            let file = storage.folder + "/disk"
            try Shell.run("dd", "if=/dev/zero", "of=\(file)", "bs=1M", "count=8", "status=none")
            try storage.takeAway(miB..<2 * miB, of: file)
            let disk = try scratch.loop(over: file).path
            let full = try scratch.run("full", source, disk, "--overwrite")
            #expect(full.code == Code.failed, "\(full)")
            // Someone else may have written it, and not heard of the loss either.
            for _ in 0..<2 {
                let compared = try scratch.run("compare", source, disk)
                #expect(compared.code != Code.done, "\(compared)")
                try Shell.run(
                    "dd", "if=\(source)", "of=\(disk)", "bs=1M", "oflag=direct", "conv=notrunc",
                    "status=none")
            }
            _ = try scratch.run("bitmap", "diff", source, disk, "--into", "n")
            for _ in 0..<2 {
                let next = try scratch.run("incremental", source, disk, "--bitmap", "n")
                #expect(next.code != Code.done, "\(next)")
            }
        }

        /// The kernel tells of a write that was lost below the page cache once: also where that is
        /// no flush, but a write-back or a look at the disk.
        @Test(
            .enabled(if: Needs.loops, Needs.loopsReason),
            arguments: ["target", "source"], ["threads", "uring"])
        func `a write that is lost below the page cache`(side: String, method: String) throws {
            let scratch = try Scratch()
            let folder = try TestFilesystem.ext4.mount(in: scratch, size: 40 * miB)
            let size = 16 * miB
            try Shell.run("truncate", "-s", "\(size)", folder + "/disk")
            try Content.write(1, to: folder + "/disk", 0..<11 * miB)
            _ = try? Shell.run("dd", "if=/dev/zero", "of=\(folder)/filler", "bs=1M", "status=none")
            try Shell.run("sync", "-f", folder)
            let full = try scratch.loop(over: folder + "/disk").path
            let other = try scratch.image("other", size: size, seed: 2)
            var command = ["full", other, full, "--overwrite", "--cache", "buffered"]
            if side == "source" {
                let writer = open(full, O_RDWR | O_CLOEXEC)
                defer { close(writer) }
                let bytes = [UInt8](repeating: 7, count: Int(4 * miB))
                #expect(pwrite(writer, bytes, bytes.count, off_t(12 * miB)) == bytes.count)
                command = ["full", full, scratch.path("copy"), "--create", "--allow-source-in-use"]
                let end = try scratch.run(command + ["--io", method, "--json"])
                // What the writer had in the cache is on no disk: it is seen by nobody any more,
                // or there is no mirror.
                if end.code == Code.done {
                    expectSame(full, scratch.path("copy"))
                } else {
                    #expect(end.code == Code.failed, "\(end)")
                }
                return
            }
            let end = try scratch.run(command + ["--io", method, "--speed", "40M", "--json"])
            #expect(end.code == Code.failed, "\(end)")
            #expect(try end.report().text("claim") == "notAMirror", "\(end)")
        }
    }
}
