import Foundation
import TestSupport
import Testing

extension Integration {
    /// What is said of a partition table that was copied to a disk it does not serve on, and that
    /// the commands that are named mend it.
    @Suite(
        .serialized, .enabled(if: Needs.loops, Needs.loopsReason),
        .enabled(if: Shell.has("sfdisk"), "needs sfdisk"), .timeLimit(.minutes(20)))
    struct PartitionTables {
        static let size = 64 * miB

        /// A table with two partitions, which begin at 1 MiB and 17 MiB.
        private func partition(_ disk: String, _ label: String, last: String = "40M") throws {
            let script = "label: \(label)\\nstart=1M,size=16M\\nsize=\(last)\\n"
            try Shell.run(
                "sh", "-c", "printf '\(script)' | sfdisk -q --wipe always --no-reread \(disk)")
        }

        /// Where the partitions of a disk are by its own table, in bytes.
        private func partitions(_ disk: String, sectorSize: Int64 = 512) throws -> [Range<Int64>] {
            try Shell.run("sh", "-c", "sfdisk --dump \(disk) 2>/dev/null").split(separator: "\n")
                .compactMap { line in
                    let match = try #/start= *(\d+), size= *(\d+)/#.firstMatch(in: line)
                    guard let match, let start = Int64(match.1), let size = Int64(match.2)
                    else { return nil }
                    return start * sectorSize..<(start + size) * sectorSize
                }
        }

        private func note(_ end: Child.End, _ code: String) throws -> String {
            #expect(end.code == Code.done, "\(end)")
            let notes = end.events.filter {
                $0.kind == "warning" && $0.text("code")?.hasPrefix("partitionTable") == true
            }
            #expect(notes.count == 1, "\(end)")
            let note = try #require(notes.first, "\(end)")
            #expect(note.text("code") == code)
            #expect(note.text("severity") == "note")
            return try #require(note.text("message"))
        }

        /// The commands that a note names.
        private func commands(_ note: String) -> [String] {
            note.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }

        private func expectNoNote(_ scratch: Scratch, _ arguments: String...) throws {
            let end = try scratch.run(arguments + ["--json"])
            #expect(end.code == Code.done, "\(end)")
            #expect(!end.output.contains("partitionTable"), "\(end)")
        }

        /// Runs a command that names a loop device, and takes that away in the end.
        private func loop(_ scratch: Scratch, _ command: String) throws -> String {
            let device = try Shell.run("sh", "-c", command)
            #expect(device.hasPrefix("/dev/loop"), "\(device)")
            scratch.onCleanup { _ in _ = try? Shell.run("losetup", "--detach", device) }
            return device
        }

        @Test(arguments: [(512, 4096), (4096, 512)], ["gpt", "dos"])
        func `sectors of another size`(sectors: (Int, Int), label: String) throws {
            let scratch = try Scratch()
            let source = try scratch.loop(
                "source", size: Self.size, seed: 1, sectorSize: sectors.0)
            try partition(source.path, label)
            let target = try scratch.loop(size: Self.size, sectorSize: sectors.1)
            let places = try partitions(source.path, sectorSize: Int64(sectors.0))
            #expect(places == [miB..<17 * miB, 17 * miB..<57 * miB])
            let dry = try scratch.run("full", source.path, target.path, "--dry-run", "--json")
            let text = try note(dry, "partitionTableSectors")
            #expect(dry.events.last?.kind == "dryRun")
            let end = try scratch.run("full", source.path, target.path, "--json")
            #expect(try note(end, "partitionTableSectors") == text)
            // As it is said: the target's own tools don't find them.
            #expect(try partitions(target.path, sectorSize: Int64(sectors.1)) != places)
            let commands = commands(text)
            #expect(commands.count == 2, "\(text)")
            let device = try loop(scratch, commands[0])
            #expect(try partitions(device, sectorSize: Int64(sectors.0)) == places)
            try Shell.run("sh", "-ec", commands[1].replacing("/dev/loopN", with: device))
            try Shell.run("losetup", "--detach", device)
            #expect(try partitions(target.path, sectorSize: Int64(sectors.1)) == places)
            if label == "gpt" { try expectSound(target.path) }
            // The partitions' own bytes are as they were.
            expectSame(source.path, target.path, count: 56 * miB, skip: miB)
        }

        /// What two judges say of a GPT.
        private func expectSound(_ disk: String) throws {
            #expect(try Shell.run("sfdisk", "--verify", disk).contains("No errors detected"))
            guard Shell.has("sgdisk") else { return }
            #expect(try Shell.run("sgdisk", "--verify", disk).contains("No problems found"))
        }

        @Test(arguments: ["loop", "file", "qcow2"])
        func `a larger target`(kind: String) throws {
            let scratch = try Scratch()
            let image = try scratch.image("image", size: Self.size, seed: 1)
            try partition(image, "gpt", last: "+")
            var source = image
            if kind == "qcow2" {
                guard Shell.has("qemu-img") else { return }
                source = scratch.path("image.qcow2")
                try Shell.run(
                    "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", image, source)
            }
            let larger = try scratch.file("larger", size: 2 * Self.size)
            let target = kind == "file" ? larger : try scratch.loop(over: larger).path
            let places = try partitions(image)
            let end = try scratch.run("full", source, target, "--allow-larger", "--json")
            let commands = commands(try note(end, "partitionTableBackup"))
            #expect(commands.count == 1)
            let before = try? Shell.run("sfdisk", "--verify", target)
            #expect(before?.contains("No errors detected") != true)
            try Shell.run("sh", "-ec", commands[0])
            try expectSound(target)
            #expect(try partitions(target) == places)
            expectSame(image, target, count: 62 * miB, skip: miB)
        }

        @Test func `a larger image of a disk with larger sectors`() throws {
            let scratch = try Scratch()
            let image = try scratch.image("image", size: Self.size, seed: 1)
            let disk = try scratch.loop(over: image, sectorSize: 4096)
            try partition(disk.path, "gpt")
            // An image of it is taken for a disk of smaller sectors.
            let copy = scratch.path("copy.img")
            let made = try scratch.run("full", disk.path, copy, "--create", "--json")
            let text = try note(made, "partitionTableSectors")
            #expect(text.contains("--sector-size 4096 \(copy)`"))
            disk.detach()
            // From image to image nothing becomes worse, but for the place of the backup.
            try expectNoNote(scratch, "full", image, scratch.path("same.img"), "--create")
            let larger = try scratch.file("my larger.img", size: 2 * Self.size)
            let end = try scratch.run("full", image, larger, "--allow-larger", "--json")
            let commands = commands(try note(end, "partitionTableBackup"))
            #expect(commands.count == 2)
            let device = try loop(scratch, commands[0])
            try Shell.run("sh", "-ec", commands[1].replacing("/dev/loopN", with: device))
            try expectSound(device)
        }

        /// The last partition reaches into what a table of larger sectors needs.
        @Test func `a table that can't be converted`() throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: Self.size, seed: 1)
            try Shell.run(
                "sh", "-c",
                "printf 'label: gpt\\nlast-lba: 131038\\nstart=2048,size=128991\\n' "
                    + "| sfdisk -q --wipe always --no-reread \(source.path)")
            let places = try partitions(source.path)
            #expect(places.map(\.upperBound) == [Self.size - 33 * 512])
            let target = try scratch.loop(size: Self.size, sectorSize: 4096)
            let end = try scratch.run("full", source.path, target.path, "--json")
            let commands = commands(try note(end, "partitionTableSectors"))
            #expect(commands.count == 1)
            #expect(try partitions(loop(scratch, commands[0])) == places)
        }

        @Test func `nothing is said where nothing is wrong`() throws {
            let scratch = try Scratch()
            let source = try scratch.loop("source", size: Self.size, seed: 1)
            let same = try scratch.loop(size: Self.size)
            let larger = try scratch.loop(size: 2 * Self.size)
            let other = try scratch.loop(size: Self.size, sectorSize: 4096)
            // No table at all.
            try expectNoNote(scratch, "full", source.path, other.path)
            try partition(source.path, "gpt")
            try expectNoNote(scratch, "full", source.path, same.path)
            try expectNoNote(scratch, "full", source.path, scratch.path("new"), "--create")
            try partition(source.path, "dos")
            try expectNoNote(
                scratch, "full", source.path, larger.path, "--allow-larger", "--overwrite")
        }

        @Test func `notes are what quiet commands leave out`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try partition(source, "gpt")
            for arguments in [["--create"], ["--overwrite", "--quiet"], ["--overwrite"]] {
                let target =
                    arguments == ["--create"]
                    ? scratch.path("target") : try scratch.file("larger", size: 2 * Self.size)
                let end = try scratch.run(["full", source, target, "--allow-larger"] + arguments)
                #expect(end.code == Code.done, "\(end)")
                #expect(
                    end.errors.contains("note: the target is larger")
                        == (arguments == ["--overwrite"]), "\(end)")
            }
        }
    }
}
