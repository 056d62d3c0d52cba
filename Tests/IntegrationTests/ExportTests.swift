import Foundation
import TestSupport
import Testing

extension Processes {
    /// What an exported bitmap may be written over, and what becomes of a file when it can't be.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Exports {
        private func source(_ scratch: Scratch) throws -> String {
            let source = try scratch.image("source", size: 4 * miB, seed: 1)
            try scratch.bitmap("add", source, "b")
            return source
        }

        @Test(arguments: ["image", "link", "hard link", "store", "link to the store", "another's"])
        func `an export never replaces an image or a file of bitmaps`(what: String) throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let files = FileManager.default
            var file = scratch.path("file")
            switch what {
            case "image": file = source
            case "link":
                try files.createSymbolicLink(atPath: file, withDestinationPath: source)
            case "hard link": try files.linkItem(atPath: source, toPath: file)
            case "store": file = source + ".bitmaps"
            case "link to the store":
                try files.createSymbolicLink(
                    atPath: file, withDestinationPath: source + ".bitmaps")
            default:
                let other = try scratch.image("other", size: miB, seed: 2)
                try scratch.bitmap("add", other, "b")
                file = other + ".bitmaps"
            }
            let before = files.contents(atPath: file)
            let end = try scratch.run("bitmap", "export", source, "b", file, "--overwrite")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("is not replaced"), "\(end)")
            #expect(files.contents(atPath: file) == before)
        }

        /// Its user mirrors by the map alone, and may not know of other targets.
        @Test func `an export tells of targets that lack more than it has`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let targets = ["first", "second"].map { scratch.path($0) }
            for target in targets {
                try scratch.mirror(source, target, "--create", "--bitmap", "b")
            }
            usleep(20_000)
            try Content.write(7, to: source, 0..<64 * kiB)
            try scratch.bitmap("mark", source, "b", "0+64K")
            let before = try scratch.run("bitmap", "export", source, "b")
            #expect(before.code == Code.done && before.errors.isEmpty, "\(before)")
            try scratch.increment(source, targets[1], "--bitmap", "b")
            let after = try scratch.run("bitmap", "export", source, "b", "-q")
            #expect(after.code == Code.done, "\(after)")
            #expect(after.errors.contains("\(targets[0]) lacks 64.0 KiB, more"), "\(after)")
            #expect(!after.errors.contains(targets[1]), "\(after)")
        }

        /// What ends in a slash is no file's name, also where there is a file of that name.
        @Test func `a name that ends in a slash is a directory's`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let target = try scratch.image("target", size: 4 * miB, seed: 2)
            let (file, new) = (scratch.path("file"), scratch.path("new") + "/")
            try Data("a\n".utf8).write(to: URL(fileURLWithPath: file))
            let before = try Content.fingerprint(target)
            let commands = [
                ["info", source + "/"], ["full", source, target + "/", "--overwrite"],
                ["full", source, new, "--create"], ["full", source, target + "/x", "--create"],
                ["full", source, new, "--create", "--dry-run"],
                ["bitmap", "add", source, "n", "--bitmaps", new],
                ["bitmap", "export", source, "b", new],
                ["bitmap", "export", source, "b", file + "/", "--overwrite"],
                ["bitmap", "import", source, "b", file + "/"],
            ]
            for command in commands {
                let end = try scratch.run(command)
                #expect(
                    [Code.usage, Code.failed, Code.refused].contains(end.code),
                    "\(command): \(end)")
                #expect(end.errors.contains("directory") || end.errors.contains("/."), "\(end)")
            }
            #expect(try Content.fingerprint(target) == before)
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "a\n")
            #expect(!FileManager.default.fileExists(atPath: scratch.path("new")))
        }

        @Test(arguments: ["qcow2", "raw", "known target", "VMDK descriptor"])
        func `an export never replaces another disk`(what: String) throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let file = scratch.path("file")
            switch what {
            case "qcow2": try Data([0x51, 0x46, 0x49, 0xfb]).write(to: URL(fileURLWithPath: file))
            case "raw": try scratch.image("file", size: miB, seed: 3)
            case "known target":
                // Nothing in it shows what it is.
                try Content.write(1, to: source, 0..<miB)
                try Data(String(repeating: "a\n", count: Int(2 * miB)).utf8)
                    .write(to: URL(fileURLWithPath: source))
                try scratch.mirror(source, file, "--create", "--bitmap", "b")
            default:
                try Data("# Disk DescriptorFile\nversion=1\n".utf8)
                    .write(to: URL(fileURLWithPath: file))
            }
            let before = try Content.fingerprint(file)
            let end = try scratch.run("bitmap", "export", source, "b", file, "--overwrite")
            #expect(end.code == Code.refused, "\(end)")
            #expect(end.errors.contains("is not replaced"), "\(end)")
            #expect(try Content.fingerprint(file) == before)
        }

        @Test func `an export replaces an earlier one, a text and an empty file`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            for format in ["ringmirror", "ranges", "qemu-dirty"] {
                let file = scratch.path("map-\(format)")
                try Data().write(to: URL(fileURLWithPath: file))
                for _ in 0..<2 {
                    try scratch.bitmap(
                        "export", source, "b", file, "--format", format, "--overwrite")
                }
                let end = try scratch.run(
                    "bitmap", "export", source, "b", file, "--overwrite", "--json")
                #expect(end.code == Code.done, "\(end)")
                #expect(try end.report().text("name") == "b", "\(end)")
            }
            let stream = try scratch.run("bitmap", "export", source, "b", "--json")
            #expect(stream.code == Code.usage, "\(stream)")
        }

        @Test func `an image that others are read through is never replaced`() throws {
            let scratch = try Scratch()
            let base = try scratch.image("base", size: miB, seed: 1)
            let overlay = scratch.path("overlay.qcow2")
            try Shell.run(
                "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay)
            try scratch.bitmap("add", overlay, "b")
            let before = FileManager.default.contents(atPath: base)
            let end = try scratch.run("bitmap", "export", overlay, "b", base, "--overwrite")
            #expect(end.code == Code.refused, "\(end)")
            #expect(FileManager.default.contents(atPath: base) == before)
        }

        @Test(.enabled(if: Needs.loops, Needs.loopsReason))
        func `an export is never written to a disk`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let disk = try scratch.loop(size: miB)
            let end = try scratch.run("bitmap", "export", source, "b", disk.path, "--overwrite")
            #expect(end.code == Code.refused, "\(end)")
            #expect(try Content.read(disk.path, 0..<512) == Data(count: 512))
        }

        /// A full file system must not cost the export of yesterday.
        @Test func `an export that fails leaves the old file and nothing else`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let file = scratch.path("out/map")
            try FileManager.default.createDirectory(
                atPath: scratch.path("out"), withIntermediateDirectories: false)
            try Data("old\n".utf8).write(to: URL(fileURLWithPath: file))
            let end = try scratch.run(
                ["bitmap", "export", source, "b", file, "--overwrite"],
                prefix: ["prlimit", "--fsize=10"])
            #expect(end.code == Code.failed, "\(end)")
            #expect(FileManager.default.contents(atPath: file) == Data("old\n".utf8))
            let left = try FileManager.default.contentsOfDirectory(atPath: scratch.path("out"))
            #expect(left == ["map"])
        }

        @Test func `an export over an old file keeps its mode, and a link stays one`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let file = scratch.path("map")
            let link = scratch.path("link")
            try Data("old\n".utf8).write(to: URL(fileURLWithPath: file))
            try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: file)
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
            let refused = try scratch.run("bitmap", "export", source, "b", link)
            #expect(refused.code == Code.refused, "\(refused)")
            try scratch.bitmap("export", source, "b", link, "--overwrite")
            let text = try String(contentsOfFile: file, encoding: .utf8)
            #expect(text.hasPrefix("ringmirror bitmap 1\n"))
            let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions]
            #expect(mode as? Int == 0o640)
            let target = try FileManager.default.destinationOfSymbolicLink(atPath: link)
            #expect(target == file)
        }
    }
}
