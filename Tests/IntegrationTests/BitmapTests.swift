import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// The commands that keep bitmaps.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Bitmaps {
        static let size = 16 * miB

        private func source(_ scratch: Scratch) throws -> String {
            try scratch.file("source", size: Self.size)
        }

        @Test func `a bitmap's life`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let added = try scratch.bitmap("add", source, "b", "--granularity", "4K", "--json")
            let event = try added.report()
            #expect(event.text("name") == "b" && event.text("state") == "recording")
            #expect(event.number("granularity") == 4096 && event.number("dirtyBytes") == 0)
            try scratch.bitmap("mark", source, "b", "1+1", "8K-12K", "1M+1")
            #expect(try scratch.dirtyBytes(source, "b") == 12288)
            try scratch.bitmap("disable", source, "b")
            let disabled = try scratch.run("bitmap", "mark", source, "b", "0+1")
            #expect(disabled.code == Code.refused, "\(disabled)")
            #expect(disabled.errors.contains("disabled"), "\(disabled)")
            try scratch.bitmap("enable", source, "b")
            try scratch.bitmap("clear", source, "b")
            #expect(try scratch.dirtyBytes(source, "b") == 0)
            try scratch.bitmap("remove", source, "b")
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
        }

        @Test func `mistakes are told apart`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            try scratch.bitmap("add", source, "b")
            let cases: [([String], String)] = [
                (["add", source, "b"], "already"),
                (["add", source, ""], "name"),
                (["add", source, String(repeating: "n", count: 1024)], "1023"),
                (["add", source, "c", "--granularity", "300"], "512"),
                (["add", source, "c", "--granularity", "4G"], "2147483648"),
                (["mark", source, "b", "16M+1"], "16777217"),
                (["mark", source, "b", "5-3"], "5-3"),
                (["mark", source, "b", "9000P+9000P"], "9000P+9000P"),
                (["mark", source, "c", "0+1"], "b"),
                (["merge", source, "b", "c"], "'c'"),
                (["remove", source], "--jobs"),
                (["add", source, "c", "--bitmaps", scratch.path("none/store")], "directory"),
                (["show", scratch.path("none"), "b"], "no such file"),
            ]
            for (arguments, word) in cases {
                let end = try scratch.run(["bitmap"] + arguments)
                #expect(end.code == Code.usage, "\(arguments): \(end)")
                #expect(end.errors.contains(word), "\(arguments): \(end)")
            }
            #expect(try scratch.dirtyBytes(source, "b") == 0)
        }

        /// A program that reads codes need not know where a bitmap is kept.
        @Test(arguments: ["raw", "qcow2"])
        func `the same mistake has the same code in an image and in a store`(format: String)
            throws
        {
            let scratch = try Scratch()
            let path = scratch.path("disk." + format)
            try Shell.run("qemu-img", "create", "-q", "-f", format, path, "1M")
            try scratch.bitmap("add", path, "b")
            try scratch.bitmap("add", path, "off", "--disabled")
            let cases: [([String], String, CInt)] = [
                (["add", path, "b"], "nameTaken", Code.usage),
                (["add", path, "a\tb"], "invalidName", Code.usage),
                (["mark", path, "b", "2M+1"], "rangeOutside", Code.usage),
                (["mark", path, "off", "0+1"], "bitmapDisabled", Code.refused),
                (["clear", path, "c"], "noSuchBitmap", Code.usage),
            ]
            for (arguments, code, exit) in cases {
                let end = try scratch.run(["bitmap"] + arguments + ["--json"])
                #expect(end.code == exit, "\(end)")
                #expect(end.events.last?.text("code") == code, "\(end)")
            }
        }

        /// What can't be made leaves nothing that is taken for a store later.
        @Test(arguments: [false, true])
        func `a bitmap that can't be added leaves no store`(isDisk: Bool) throws {
            guard !isDisk || Needs.loops else { return }
            let scratch = try Scratch()
            let folder = scratch.path("folder")
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: false)
            let image = try scratch.file("folder/source", size: Self.size)
            let source = isDisk ? try scratch.loop(over: image).path : image
            let store = ["--bitmaps", folder + "/store"]
            for (arguments, word) in [
                (["a\nb"], "control"), (["a\tb"], "control"), ([""], "empty"),
                ([String(repeating: "n", count: 1024)], "1023"),
                (["a\nb"] + store, "control"), ([""] + store, "empty"),
                (["n", "--granularity", "300"], "512"),
                (["n", "--granularity", "300"] + store, "512"),
            ] {
                let end = try scratch.run(["bitmap", "add", source] + arguments)
                #expect(end.code == Code.usage, "\(arguments): \(end)")
                #expect(end.errors.contains(word), "\(arguments): \(end)")
                let left = try FileManager.default.contentsOfDirectory(atPath: folder)
                #expect(left == ["source"], "\(arguments)")
                let kept = try? FileManager.default.contentsOfDirectory(
                    atPath: scratch.path("state"))
                #expect(kept?.isEmpty != false, "\(arguments)")
            }
            // Where nothing is wrong a store is made, and is seen here.
            try scratch.bitmap("add", source, "n")
            let place = isDisk ? scratch.path("state") : folder
            let made = try FileManager.default.contentsOfDirectory(atPath: place)
            #expect(made.contains { $0.hasSuffix(".bitmaps") }, "\(made)")
        }

        @Test func `merging is all or nothing`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            for (name, granularity) in [("a", "64K"), ("b", "4K"), ("c", "1M")] {
                try scratch.bitmap("add", source, name, "--granularity", granularity)
            }
            try scratch.bitmap("mark", source, "b", "70000+1")
            try scratch.bitmap("mark", source, "c", "5M+1")
            let end = try scratch.run("bitmap", "merge", source, "a", "b", "c", "nobody")
            #expect(end.code == Code.usage, "\(end)")
            #expect(try scratch.dirtyBytes(source, "a") == 0)
            try scratch.bitmap("merge", source, "a", "b", "c")
            #expect(try scratch.dirtyBytes(source, "a") == 64 * kiB + miB)
        }

        @Test func `show draws where it is dirty`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            try scratch.bitmap("add", source, "b")
            try scratch.bitmap("mark", source, "b", "0-8M", "15M+64K")
            let text = try scratch.bitmap("show", source, "b").output
            #expect(
                text.contains("2 , the largest") || text.contains("2, the largest 8"), "\(text)")
            let cells = text.filter { "·░▒▓█".contains($0) }
            #expect(cells.hasPrefix("████") && cells.contains("··"), "\(text)")
            let event = try scratch.bitmap("show", source, "b", "--json").report()
            #expect(event.number("runs") == 2)
            #expect(event.number("largestRun") == 8 * miB)
            #expect(event.number("dirtyGranules") == 129)
        }

        @Test func `diff finds what to copy`() throws {
            let scratch = try Scratch()
            let first = try scratch.image("first", size: Self.size + 777, seed: 1)
            let second = scratch.path("second")
            try Shell.run("cp", first, second)
            try Content.write(2, to: second, 5 * miB..<5 * miB + 4096)
            try Content.write(2, to: second, Self.size + 700..<Self.size + 777)
            try scratch.bitmap("diff", first, second, "--into", "d", "--granularity", "64K")
            #expect(try scratch.dirtyBytes(first, "d") == 64 * kiB + 777)
            try scratch.increment(first, second, "--bitmap", "d", "--verify=all")
            expectSame(first, second)
        }

        @Test(arguments: ["ringmirror", "ddrescue", "qemu-dirty", "ranges"])
        func `export and import are inverse`(format: String) throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            try scratch.bitmap("add", source, "a", "--granularity", "512")
            try scratch.bitmap("mark", source, "a", "512+512", "1M+3M", "\(Self.size - 1)+1")
            let file = scratch.path("map")
            try scratch.bitmap("export", source, "a", file, "--format", format)
            let again = try scratch.run("bitmap", "export", source, "a", file)
            #expect(again.code == Code.refused, "\(again)")
            let hint = format == "ringmirror" ? "" : ":" + format
            try scratch.bitmap(
                "import", source, "b", file + hint, "--create", "--granularity", "512")
            #expect(try scratch.dirtyBytes(source, "b") == 3 * miB + 1024)
            try scratch.bitmap("import", source, "b", file + hint)
            #expect(try scratch.dirtyBytes(source, "b") == 3 * miB + 1024)
        }

        @Test func `import says what it understood`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let file = scratch.path("x.txt")
            try """
            <blocks>
              <block block="7"/>
              <range begin="20" end = "30"/>
            </blocks>

            """.write(toFile: file, atomically: true, encoding: .utf8)
            let missing = try scratch.run("bitmap", "import", source, "b", file, "--create")
            #expect(missing.code == Code.usage, "\(missing)")
            #expect(missing.errors.contains("--map-block-size"), "\(missing)")
            let end = try scratch.bitmap(
                "import", source, "b", file, "--create", "--map-block-size", "64K")
            #expect(end.errors.contains("era"), "\(end)")
            #expect(try scratch.dirtyBytes(source, "b") == 11 * 64 * kiB)
        }

        @Test func `list without bitmaps`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let end = try scratch.bitmap("list", source)
            #expect(end.output.contains("no bitmaps"), "\(end)")
            #expect(!FileManager.default.fileExists(atPath: source + ".bitmaps"))
        }

        /// Looking for old records in a store is no reason to call a mirror a failure.
        @Test(arguments: ["garbage", "directory", "of another image"])
        func `a mirror without a bitmap needs no store`(what: String) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let store = source + ".bitmaps"
            switch what {
            case "garbage": try Content.write(7, to: store, 0..<8192)
            case "directory":
                try FileManager.default.createDirectory(
                    atPath: store, withIntermediateDirectories: false)
            default:
                let other = try scratch.file("other", size: Self.size)
                try scratch.bitmap("add", other, "b", "--bitmaps", store)
            }
            let target = scratch.path("target")
            try scratch.mirror(source, target, "--create")
            expectSame(source, target)
            #expect(FileManager.default.fileExists(atPath: store))
        }

        @Test func `no target is made for a bitmap that can't be used`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            let target = scratch.path("target")
            try scratch.bitmap("add", source, "b")
            for options in [["unknown"], ["b", "--bitmap-mode", "never"]] {
                let end = try scratch.run(
                    ["full", source, target, "--create", "--bitmap"] + options)
                #expect(end.code == Code.usage, "\(end)")
                #expect(!FileManager.default.fileExists(atPath: target))
            }
        }

        @Test func `names of any kind`() throws {
            let scratch = try Scratch()
            let source = try source(scratch)
            for name in ["ä ö", "a/b", String(repeating: "n", count: 1023)] {
                try scratch.bitmap("add", source, name)
                try scratch.bitmap("mark", source, name, "0+1")
                #expect(try scratch.dirtyBytes(source, name) == 64 * kiB)
            }
            let list = try scratch.bitmap("list", source, "--json")
            #expect(list.events.count == 3)
        }

        @Test(.enabled(if: Needs.loops, Needs.loopsReason))
        func `a disk's bitmaps are in the state directory`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: Self.size)
            try scratch.bitmap("add", disk.path, "b")
            let files = try FileManager.default.contentsOfDirectory(atPath: scratch.path("state"))
            #expect(files.count == 1 && files[0].hasSuffix(".bitmaps"), "\(files)")
            try scratch.bitmap("mark", disk.path, "b", "0+1")
            #expect(try scratch.dirtyBytes(disk.path, "b") == 64 * kiB)
        }
    }
}
