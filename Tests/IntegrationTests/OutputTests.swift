import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// What is printed, and that it is true.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct Outputs {
        static let size = 4 * miB + 4096 + 513

        /// A name must not look like another claim.
        @Test func `a name with a newline stays on its line`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            let target = scratch.path("x\ny is a mirror of z")
            let end = try scratch.run("full", source, target, "--create")
            #expect(end.code == Code.done, "\(end)")
            let lines = end.output.split(separator: "\n")
            #expect(!lines.contains { $0.hasPrefix("y is") }, "\(end)")
            let first = try #require(lines.first)
            #expect(first.contains("/x\\ny is a mirror of z is a mirror of"), "\(end)")
        }

        @Test func `events of a mirror`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: 16 * miB)
            try Content.write(1, to: source, 0..<9 * miB)
            let target = try scratch.image("target", size: 16 * miB, seed: 2)
            let end = try scratch.run(
                "full", source, target, "--overwrite", "--json", "--verify", "--speed", "5M")
            #expect(end.code == Code.done, "\(end)")
            let events = end.events
            #expect(events.first?.kind == "start")
            #expect(
                events.first?.fields.keys.sorted() == [
                    "command", "event", "pid", "schema", "size", "source", "target", "time",
                    "version",
                ])
            #expect(events.first?.text("command") == "full")
            #expect(events.first?.text("source") == source)
            #expect(events.first?.text("target") == target)
            #expect(events.first?.number("size") == 16 * miB)
            let progress = events.filter { $0.kind == "progress" }
            #expect(!progress.isEmpty)
            for (earlier, later) in zip(progress, progress.dropFirst())
            where earlier.text("phase") == later.text("phase") {
                #expect(earlier.number("done")! <= later.number("done")!)
            }
            for event in progress {
                #expect(event.number("planned") == 16 * miB)
                #expect(event.flag("paused") == false)
                for field in ["read", "written", "zeroed", "skipped", "bytesPerSecond"] {
                    #expect(event.number(field) != nil, "\(field)")
                }
            }
            let reports = events.filter { $0.kind == "report" }
            #expect(reports.count == 1)
            let report = try #require(reports.first)
            #expect(report.text("outcome") == "mirrored")
            #expect(report.number("planned") == 16 * miB)
            #expect(report.number("done") == 16 * miB)
            #expect(report.number("read") == 9 * miB)
            #expect(report.number("written") == 9 * miB)
            #expect(report.number("zeroed") == 7 * miB)
            #expect(report.failed.isEmpty)
            for field in [
                "retries", "seconds", "bytesPerSecond", "requestSize", "depth", "rings", "enters",
                "submissions", "completions", "skipped",
            ] {
                #expect(report.number(field) != nil, "\(field)")
            }
            #expect(report.number("submissions") == report.number("completions"))
            #expect(report.text("sourceCache") == "direct")
            #expect(report.flag("registeredBuffers") != nil)
            #expect(events.last?.kind == "report")
            #expect(report.text("claim") == "mirror")
            let verify = try #require(events.first { $0.kind == "verify" })
            #expect(verify.flag("identical") == true)
            #expect(verify.number("compared") == 16 * miB)
        }

        @Test func `what a person reads`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let target = scratch.path("target")
            let end = try scratch.run("full", source, target, "--create", "--verify")
            #expect(end.output.contains("\(target) is a mirror of \(source)"), "\(end)")
            #expect(end.output.contains("identical"), "\(end)")
            // An ordinary user may be told that buffers can't be locked, and nothing else.
            #expect(end.errors.isEmpty || end.errors.contains("memlock"), "\(end)")
            let quiet = try scratch.run(
                "full", source, target, "--overwrite", "--quiet", "--verify")
            #expect(quiet.output.isEmpty && quiet.errors.isEmpty, "\(quiet)")
            let progress = try scratch.run(
                "full", source, target, "--overwrite", "--progress", "--speed", "8M")
            #expect(progress.errors.contains("MiB copied"), "\(progress)")
            #expect(progress.errors.contains("%"), "\(progress)")
        }

        @Test func `a refusal in JSON`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            let end = try scratch.run("full", source, scratch.path("missing"), "--json")
            #expect(end.code == Code.refused)
            #expect(end.events.count == 1)
            let event = try end.report()
            #expect(event.kind == "error")
            #expect(event.number("exitCode") == 3)
            #expect(end.errors.contains(try #require(event.text("message"))))
        }

        @Test func `identical images`() throws {
            let scratch = try Scratch()
            let first = try scratch.image("first", size: Self.size, seed: 1)
            let second = try scratch.image("second", size: Self.size, seed: 1)
            let end = try scratch.run("compare", first, second)
            #expect(end.code == Code.done, "\(end)")
            #expect(end.output.contains("identical"))
            let json = try scratch.run("compare", first, second, "--json")
            #expect(json.code == Code.done)
            #expect(try json.report().flag("identical") == true)
            #expect(try json.report().number("compared") == Self.size)
            #expect(try json.report().number("differingBytes") == 0)
        }

        /// Changes single bytes, in ways that a seed determines, and counts them here.
        @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
        func `differences are found and counted`(seed: UInt64) throws {
            let scratch = try Scratch()
            let first = try scratch.image("first", size: Self.size, seed: 9)
            let second = try scratch.image("second", size: Self.size, seed: 9)
            var generator = SeededGenerator(seed: seed)
            var changed: Set<Int64> = []
            let count = Int.random(in: 1...40, using: &generator)
            while changed.count < count {
                // Often near the edges of pages, requests and the disk.
                let edge =
                    Int64.random(in: 0...4, using: &generator) * miB
                    + Int64.random(in: -1...1, using: &generator)
                let anywhere = Int64.random(in: 0..<Self.size, using: &generator)
                let offset = generator.chance(percent: 40) ? edge : anywhere
                if (0..<Self.size).contains(offset) { changed.insert(offset) }
            }
            if seed == 1 { changed = [Self.size - 1] }
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: second))
            for offset in changed {
                try file.seek(toOffset: UInt64(offset))
                let byte = try #require(try file.read(upToCount: 1)?.first)
                try file.seek(toOffset: UInt64(offset))
                try file.write(contentsOf: Data([byte ^ 0x40]))
            }
            try file.close()
            for cache in ["auto", "buffered"] {
                let end = try scratch.run("compare", first, second, "--json", "--cache", cache)
                #expect(end.code == Code.different, "\(end)")
                let report = try end.report()
                let cluster = try #require(report.number("clusterSize"))
                #expect(report.flag("identical") == false)
                #expect(report.number("differingBytes") == Int64(changed.count))
                #expect(report.number("firstDifference") == changed.min())
                #expect(
                    report.number("differingClusters")
                        == Int64(Set(changed.map { $0 / cluster }).count))
            }
            let text = try scratch.run("compare", first, second)
            #expect(text.code == Code.different)
            #expect(text.output.contains("first at offset \(changed.min()!)"), "\(text)")
            #expect(text.output.contains("\(changed.count) bytes"), "\(text)")
            // What was found can be mended.
            try scratch.mirror(first, second)
            #expect(try scratch.run("compare", first, second).code == Code.done)
        }

        /// Nothing was compared, so that nothing was found identical.
        @Test func `images without any bytes`() throws {
            let scratch = try Scratch()
            let first = try scratch.file("first", size: 0)
            let second = try scratch.file("second", size: 0)
            let third = try scratch.image("third", size: miB, seed: 1)
            for (other, code) in [(second, Code.done), (third, Code.different)] {
                let end = try scratch.run("compare", first, other)
                #expect(end.code == code, "\(end)")
                #expect(!end.output.contains("identical"), "\(end)")
                let report = try scratch.run("compare", first, other, "--json").report()
                #expect(report.flag("identical") == (code == Code.done ? nil : false))
            }
            let end = try scratch.run("full", first, scratch.path("new"), "--create", "--verify")
            #expect(end.code == Code.done && !end.output.contains("identical"), "\(end)")
        }

        @Test func `images of other sizes differ`() throws {
            let scratch = try Scratch()
            let first = try scratch.image("first", size: Self.size, seed: 1)
            let longer = try scratch.image("longer", size: Self.size + 1, seed: 1)
            for pair in [[first, longer], [longer, first]] {
                let end = try scratch.run(["compare", "--json"] + pair)
                #expect(end.code == Code.different, "\(end)")
                #expect(try end.report().number("differingBytes") == 0)
                #expect(try end.report().number("compared") == Self.size)
            }
            let empty = try scratch.file("empty", size: 0)
            #expect(try scratch.run("compare", empty, first).code == Code.different)
            #expect(try scratch.run("compare", empty, empty).code == Code.done)
        }

        @Test func `holes and written zeros are the same`() throws {
            let scratch = try Scratch()
            let holes = try scratch.file("holes", size: Self.size)
            let zeros = try scratch.file("zeros", size: Self.size)
            try Content.zeros(to: zeros, 0..<Self.size)
            let end = try scratch.run("compare", holes, zeros, "--json")
            #expect(end.code == Code.done, "\(end)")
            #expect(try end.report().number("compared") == Self.size)
        }

        @Test func `what info says of an image`() throws {
            let scratch = try Scratch()
            let image = try scratch.file("image", size: 16 * miB)
            try Content.write(1, to: image, 0..<miB)
            try Content.write(1, to: image, 8 * miB..<9 * miB)
            let end = try scratch.run("info", image, "--json")
            #expect(end.code == Code.done, "\(end)")
            let info = try end.report()
            #expect(info.text("path") == image)
            #expect(info.text("kind") == "image")
            #expect(info.number("size") == 16 * miB)
            #expect(info.number("dataBytes") == 2 * miB)
            #expect(info.number("extents") == 2)
            let text = try scratch.run("info", image)
            #expect(text.code == Code.done)
            #expect(text.output.contains("16777216 bytes"))
        }

        @Test(
            .enabled(if: Needs.loops, Needs.loopsReason), arguments: [512, 4096])
        func `what info says of a disk`(sector: Int) throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: 16 * miB, sectorSize: sector)
            let end = try scratch.run("info", disk.path, "--json")
            #expect(end.code == Code.done, "\(end)")
            let info = try end.report()
            #expect(info.text("kind") == "disk")
            #expect(info.number("size") == 16 * miB)
            #expect(info.number("logicalBlockSize") == Int64(sector))
            #expect(info.text("cache") == "direct")
            let identity = try #require(info.fields["identity"] as? [String: Any])
            #expect(!identity.isEmpty)
            #expect(try scratch.run("info", disk.path).output.contains("disk"))
        }

        @Test(.enabled(if: Needs.loops && Shell.has("mkfs.ext4"), Needs.loopsReason))
        func `info may look at a disk in use`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(size: 16 * miB)
            try TestFilesystem.ext4.make(on: disk.path)
            _ = try scratch.mount(disk.path)
            let end = try scratch.run("info", disk.path)
            #expect(end.code == Code.done, "\(end)")
        }

        @Test func `help and version`() throws {
            let scratch = try Scratch()
            for arguments in [
                ["--help"], ["full", "--help"], ["compare", "--help"], ["info", "--help"],
                ["help"], ["help", "full"],
            ] {
                let end = try scratch.run(arguments)
                #expect(end.code == Code.done, "\(end)")
                #expect(end.output.contains("USAGE"), "\(end)")
                #expect(end.errors.isEmpty, "\(end)")
            }
            for arguments in [["help", "nosuch"], ["help", "bitmap", "nosuch"]] {
                let end = try scratch.run(arguments)
                #expect(end.code == Code.usage, "\(end)")
                #expect(end.errors.contains("there is no command"), "\(end)")
            }
            for (argument, way) in [
                ("--verify=some", "--verify=all"), ("--resume=yes", "--resume=auto"),
            ] {
                let end = try scratch.run("full", "a", "b", argument)
                #expect(end.code == Code.usage && end.errors.contains(way), "\(end)")
            }
            let full = try scratch.run("full", "--help").output
            for option in [
                "--overwrite", "--create", "--allow-larger", "--allow-source-in-use", "--verify",
                "--zeroes", "--target-is-zero", "--speed", "--request-size", "--depth", "--rings",
                "--cache", "--on-source-error", "--on-target-error", "--json", "--quiet",
            ] {
                #expect(full.contains(option), "\(option)")
            }
            let version = try scratch.run("--version")
            #expect(version.code == Code.done)
            #expect(version.output.hasPrefix("ringmirror "))
        }
    }
}
