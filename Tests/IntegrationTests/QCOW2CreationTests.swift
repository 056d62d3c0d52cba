import Foundation
import TestSupport
import Testing

extension Processes {
    /// Images that are made: where, how large, and what is left if it fails.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere && Needs.loops, QEMU.reason),
        .timeLimit(.minutes(20)))
    struct QCOW2Creation {
        @Test(arguments: [[], ["--preallocate", "metadata"], ["--cluster-size", "4K"]])
        func `an image on a disk`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source", size: 6 * miB, seed: 4)
            // What was there must not show through.
            let disk = try scratch.loop("disk", size: 16 * miB, seed: 9)
            let make = ["full", source, disk.path, "--target-format", "qcow2", "--create"]
            try scratch.succeed(make + ["--overwrite", "--verify=all"] + options)
            try QEMU.img("check", "-q", "-f", "qcow2", disk.path)
            expectIdentical(source, disk.path, formats: ("raw", "qcow2"))
            #expect(try Content.size(scratch.path("disk")) == 16 * miB)
            // It is an image like any other now.
            try scratch.succeed(
                "full", source, disk.path, "--target-format", "qcow2", "--overwrite")
            let again = try scratch.run(make + options)
            #expect(again.code == Code.refused, "an image is data in the way: \(again)")
        }

        @Test func `a disk without an image, and one that is too small`() throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source", size: 6 * miB, seed: 4)
            let disk = try scratch.loop(size: miB)
            try scratch.expectTurnedDown(
                ["full", source, disk.path, "--target-format", "qcow2"], codes: [Code.usage],
                naming: ["no qcow2 image", "--create"], untouched: [disk.path])
            let tiny = try scratch.loop(size: 128 * kiB)
            try scratch.expectTurnedDown(
                ["full", source, tiny.path, "--target-format", "qcow2", "--create"],
                codes: [Code.usage], naming: ["131072 bytes", "before anything"],
                untouched: [tiny.path])
            // The tables fit and the data does not: a note, for the disk may be a thin one.
            let end = try scratch.run([
                "full", source, disk.path, "--target-format", "qcow2", "--create",
            ])
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.contains("once all of its disk has been written"), "\(end)")
            #expect(FileManager.default.fileExists(atPath: disk.path))
        }

        @Test func `a disk in use stays as it is`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: miB)
            let disk = try scratch.loop(size: 64 * miB)
            try Shell.run("mkfs.ext4", "-q", disk.path)
            let command = ["full", source, disk.path, "--target-format", "qcow2", "--create"]
            try scratch.expectTurnedDown(command, naming: ["ext4"], untouched: [disk.path])
            _ = try scratch.mount(disk.path)
            try scratch.expectTurnedDown(command + ["--overwrite"], naming: ["mounted"])
        }

        @Test(arguments: [
            ["--target-format", "qcow2", "--cluster-size", "1000"],
            ["--target-format", "qcow2", "--backing", "missing", "--backing-format", "raw"],
            ["--target-format", "qcow2", "--bitmap", "none"], ["--bitmap", "none"],
            [
                "--target-format", "qcow2", "--cluster-size", "512", "--backing",
                String(repeating: "n", count: 600), "--backing-format", "raw",
            ],
        ])
        func `a failed command leaves nothing`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: miB)
            let end = try scratch.run(["full", source, scratch.path("new"), "--create"] + options)
            #expect(end.code != Code.done)
            #expect(try scratch.names() == ["source"])
        }

        /// `required` is what a device for the target has to have, and so it must never be too
        /// little.
        @Test func `measured is at least what a new target takes`() throws {
            var random = RandomTest.generator(defaultSeed: 41)
            let scratch = try Scratch()
            for round in 0..<RandomTest.events(default: 28) {
                let how = ["detect", "holes", "write"].randomElement(using: &random) ?? "detect"
                let source = try Self.source(round, scratch, &random, isSmall: how == "write")
                let (format, options) = Self.target(&random)
                let measured = try scratch.succeed(
                    ["measure", source, "--json", "--zeroes", how] + format + options
                ).report()
                let target = scratch.path("target")
                let mirror =
                    ["full", source, target, "--create", "--zeroes", how] + format + options
                let dry = try scratch.succeed(mirror + ["--dry-run", "--json"])
                try scratch.succeed(mirror + ["-q"])
                let comment: Comment = "\(how) \(format + options), \(round), \(random.replay)"
                let required = try #require(measured.number("required"))
                let full = try #require(measured.number("fullyAllocated"))
                #expect(dry.events.last?.number("required") == required, comment)
                let isRaw = format.last == "raw"
                let taken = try isRaw ? Content.dataBytes(target) : Content.size(target)
                #expect(taken <= required, comment)
                #expect(required <= full || full == 0, comment)
                for file in [source, target] { unlink(file) }
            }
        }

        /// What a target is to be.
        private static func target(
            _ random: inout SeededGenerator
        ) -> (format: [String], options: [String]) {
            if random.chance(percent: 10) { return (["--target-format", "raw"], []) }
            let cluster = 512 << Int.random(in: 0...12, using: &random)
            var options = ["--cluster-size", String(cluster)]
            if cluster >= 16384, random.chance(percent: 30) { options.append("--extended-l2") }
            if random.chance(percent: 20) { options += ["--preallocate", "metadata"] }
            return (["--target-format", "qcow2"], options)
        }

        /// Some data in a disk, raw or qcow2, whose size need not be a multiple of anything: a
        /// little in a large one, or so much in a small one that holes of all lengths are between.
        private static func source(
            _ round: Int, _ scratch: Scratch, _ random: inout SeededGenerator, isSmall: Bool
        ) throws -> String {
            let isImage = random.chance(percent: 25)
            let isDense = isSmall || random.chance(percent: 60)
            let bits = Int64.random(in: 20...(isDense ? 23 : 31), using: &random)
            var size = Int64.random(in: 1...(1 << bits), using: &random)
            if isImage { size = (size + 511) & ~511 }
            let path = scratch.path("source-\(round)\(isImage ? ".qcow2" : "")")
            if isImage {
                try QEMU.create(path, size: size)
            } else {
                try scratch.file("source-\(round)", size: size)
            }
            let count = Int.random(in: 0...(isDense ? 40 : 6), using: &random)
            let sectors = Int64(isDense ? 64 : 2048)
            let writes = (0..<count).map { _ in
                let offset = Int64.random(in: 0..<size, using: &random) & ~511
                let length = min(
                    (size - offset) & ~511, Int64.random(in: 1...sectors, using: &random) << 9)
                return (offset, length)
            }.filter { $0.1 > 0 }
            try QEMU.io(
                path, format: isImage ? "qcow2" : "raw",
                writes.map { "write -P 7 \($0.0) \($0.1)" })
            return path
        }

        /// Whether a job skips the rest of a hole depends on where its clusters end.
        @Test(arguments: [8, 16, 32])
        func `measured of holes that just miss being skipped`(kibibytes: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: 4 * miB)
            for start in stride(from: 0, to: 4 * miB, by: 72 * Int(kiB)) {
                try Content.write(1, to: source, Int64(start)..<(Int64(start) + 4 * kiB))
            }
            let options = [
                "--target-format", "qcow2", "--cluster-size", "\(kibibytes)K", "--zeroes", "holes",
            ]
            let measured = try scratch.succeed(["measure", source, "--json"] + options).report()
            let image = scratch.path("image")
            try scratch.succeed(["full", source, image, "--create", "-q"] + options)
            #expect(try Content.size(image) <= #require(measured.number("required")))
        }

        /// The tables of an image are much larger than its data where clusters are small.
        @Test(arguments: [32, 63])
        func `measured of a large disk in small clusters`(gibibytes: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.file("source", size: gibibytes << 30)
            let options = ["--target-format", "qcow2", "--cluster-size", "512"]
            let measured = try scratch.succeed(["measure", source, "--json"] + options).report()
            let image = scratch.path("image")
            try scratch.succeed(["full", source, image, "--create", "-q"] + options)
            #expect(try Content.size(image) <= #require(measured.number("required")))
        }

        /// A raw disk may have any size, and an image has whole sectors.
        @Test(arguments: [1, 511, 65537, 1_000_000])
        func `a mirror that was rounded up is identical`(size: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: size, seed: 5)
            let image = scratch.path("image.qcow2")
            try scratch.succeed("full", source, image, "--create", "--verify=all")
            for pair in [[source, image], [image, source]] {
                let end = try scratch.succeed(["compare"] + pair)
                #expect(end.errors.contains("whole sectors"), "\(end)")
                #expect(
                    try scratch.succeed(["compare", "--json"] + pair).report().flag("identical")
                        == true)
            }
            // The padding is no part of the disk as long as it is zeros.
            try QEMU.io(image, ["write -P 1 \(size / 512 * 512) 512"])
            try Content.write(5, to: source, 0..<size)
            try QEMU.io(image, ["write -P 0 \(size / 512 * 512) 512"])
            #expect(try scratch.run(["compare", source, image]).code == Code.different)
            // A size that was not rounded differs, whatever is there.
            let longer = try scratch.file("longer", size: (size + 511) & ~511)
            #expect(try scratch.run(["compare", source, longer]).code == Code.different)
        }
    }
}
