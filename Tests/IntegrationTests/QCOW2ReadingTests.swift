import Foundation
import TestSupport
import Testing

extension Processes {
    /// What a qcow2 image reads as, with all that lies below it, against QEMU's own reading of it.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Reading {
        /// A seed that is told has to bring the same images back.
        @Test func `a history can be told again`() throws {
            try ImageHistory.each(3, from: 0x1900, depth: 2...4) { history, scratch in
                let second = try Scratch()
                defer { withExtendedLifetime(second) {} }
                let other = try ImageHistory(seed: history.seed, in: second, depth: 2...4)
                for index in history.layers.indices {
                    let once = try history.flatten(index, to: scratch.path("once"))
                    let again = try other.flatten(index, to: scratch.path("again"))
                    try Self.expectBytes(once, again, history)
                    guard history.layers[index].format == "qcow2" else { continue }
                    expectSound(history.layers[index].path, "\(history)")
                }
            }
        }

        /// The whole chain in full; its top layer onto a copy of the rest; and all that is above
        /// its lowest layer onto a copy of that.
        @Test func `chains with a past`() throws {
            try ImageHistory.each(12, from: 0x2a00) { history, scratch in
                let top = history.top
                let before = try history.fingerprints()
                let merged = try history.flatten(history.layers.count - 1, to: scratch.path("m"))
                let full = scratch.path("full.raw")
                try scratch.succeed(["full", top.path, full, "--create"], "\(history)")
                #expect(try Content.size(full) == top.size)
                try Self.expectBytes(merged, full, history)
                if history.layers.count > 1 {
                    let below = history.layers.count - 2
                    let onto = try history.flatten(below, to: scratch.path("onto.raw"))
                    try scratch.succeed(["top", top.path, onto], "\(history)")
                    try Self.expectBytes(merged, onto, history)
                    let lowest = try history.flatten(0, to: scratch.path("lowest.raw"))
                    try scratch.succeed(
                        ["top", top.path, lowest, "--base", history.layers[0].path], "\(history)")
                    try Self.expectBytes(merged, lowest, history)
                }
                let compared = try scratch.run("compare", top.path, merged)
                #expect(compared.code == Code.done, "\(compared) \(history)")
                // Who only reads an image leaves it as it is, in all its layers.
                #expect(try history.fingerprints() == before, "\(history)")
            }
        }

        private static func expectBytes(
            _ first: String, _ second: String, _ history: ImageHistory,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let same = (try? Shell.run("cmp", first, second)) != nil
            #expect(same, "\(history)", sourceLocation: sourceLocation)
        }

        /// QEMU rounds a size up to a sector; a raw image below may end anywhere.
        @Test(arguments: [512, 4097, 64 * kiB + 512, 1025 * kiB], ["512", "65536", "2097152"])
        func `sizes off a cluster`(size: Int64, cluster: String) throws {
            let scratch = try Scratch()
            let even = (size + 511) & ~511
            let base = try scratch.image("base.raw", size: size, seed: 1)
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: even, options: ["cluster_size=\(cluster)"],
                over: ("base.raw", "raw"))
            try QEMU.io(image, ["write -P 7 \(even - 512) 511", "write -P 9 0 1"])
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            expectIdentical(image, target, formats: ("qcow2", "raw"))
            #expect(try Content.size(target) == even)
            #expect(try Content.size(base) == size)
        }

        /// Past the end of the shorter layer there are zeros, whatever the target had there.
        @Test(arguments: [("raw", "65536"), ("qcow2", "65536"), ("qcow2", "2097152")])
        func `a backing image that is shorter`(format: String, cluster: String) throws {
            let scratch = try Scratch()
            let base = scratch.path("base.\(format)")
            try QEMU.img("create", "-q", "-f", format, base, String(miB + 512))
            try QEMU.io(base, format: format, ["write -P 3 0 \(miB + 512)"])
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: 3 * miB, options: ["cluster_size=\(cluster)"],
                over: (base, format))
            try QEMU.io(image, ["write -P 4 2M 4K"])
            let merged = try QEMU.flatten(image, to: scratch.path("merged"))
            let full = try scratch.image("full.raw", size: 3 * miB, seed: 9)
            try scratch.succeed("full", image, full, "--overwrite")
            expectSame(merged, full)
            let top = try QEMU.flatten(
                base, format: format, to: scratch.path("top.raw"), size: 3 * miB)
            try scratch.succeed("top", image, top)
            expectSame(merged, top)
        }

        /// What is read of it may be wrong. It can be saved all the same, and whoever does hears
        /// of it.
        @Test func `an image that is marked as corrupt`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: miB)
            try QEMU.io(image, ["write -P 7 0 64K"])
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: image))
            try file.seek(toOffset: 79)
            try file.write(contentsOf: Data([2]))
            try file.close()
            let target = scratch.path("target.raw")
            for command in [["full", image, target, "--create"], ["compare", image, target]] {
                let end = try scratch.run(command)
                #expect(end.code == 0 && end.errors.contains("marked as corrupt"), "\(end)")
            }
            let info = try scratch.run("info", image)
            #expect(info.output.contains("marked as corrupt"), "\(info)")
        }

        /// A grown overlay hides what lies below it where it was made when that was longer.
        @Test func `a layer in the middle that is shorter than those around it`() throws {
            let scratch = try Scratch()
            let base = try QEMU.create(scratch.path("a.qcow2"), size: 3 * miB)
            try QEMU.io(base, ["write -P 1 0 3M"])
            let middle = try QEMU.create(
                scratch.path("b.qcow2"), size: miB, over: (base, "qcow2"))
            let image = try QEMU.create(
                scratch.path("c.qcow2"), size: 2 * miB, over: (middle, "qcow2"))
            try QEMU.io(image, ["write -P 5 512K 64K"])
            let merged = try QEMU.flatten(image, to: scratch.path("merged"))
            let target = try scratch.image("target.raw", size: 2 * miB, seed: 9)
            try scratch.succeed("full", image, target, "--overwrite")
            expectSame(merged, target)
            #expect(try Content.read(target, miB..<miB + 4096) == Data(count: 4096))
            // Above the lowest layer, where the middle one has ended, is a zero and not nothing.
            let onto = try QEMU.flatten(base, to: scratch.path("onto.raw"), size: 2 * miB)
            try scratch.succeed("top", image, onto, "--base", base)
            expectSame(merged, onto)
        }

        /// Zeros that hide what is below are a part of the top layer; nothing at all is not.
        @Test func `explicit zeros over data`() throws {
            let scratch = try Scratch()
            let base = try QEMU.create(scratch.path("base.qcow2"), size: 2 * miB)
            try QEMU.io(base, ["write -P 1 0 2M"])
            let image = try QEMU.create(
                scratch.path("image.qcow2"), over: (base, "qcow2"))
            try QEMU.io(image, ["write -z -u 0 64K", "write -z 128K 1000", "discard 1M 128K"])
            let merged = try QEMU.flatten(image, to: scratch.path("merged"))
            let target = try QEMU.flatten(base, to: scratch.path("target.raw"))
            try scratch.succeed("top", image, target)
            expectSame(merged, target)
            #expect(try Content.read(target, 0..<64 * kiB) == Data(count: Int(64 * kiB)))
            #expect(try Content.read(target, miB..<miB + 4096) == Data(count: 4096))
        }

        /// The image is its present state; what it was once is not a part of it.
        @Test func `internal snapshots`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: 2 * miB)
            try QEMU.io(image, ["write -P 1 0 1M"])
            try QEMU.img("snapshot", "-c", "once", image)
            try QEMU.io(image, ["write -P 2 512K 1M", "write -z -u 0 64K"])
            try QEMU.img("snapshot", "-c", "twice", image)
            try QEMU.io(image, ["write -P 3 64K 4K"])
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            expectIdentical(image, target, formats: ("qcow2", "raw"))
            expectSame(try QEMU.flatten(image, to: scratch.path("merged")), target)
        }

        @Test(arguments: ["zlib", "zstd"], ["4096", "65536", "2097152"])
        func `compressed clusters`(type: String, cluster: String) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 3 * miB + 512, seed: 5)
            let image = scratch.path("image.qcow2")
            try QEMU.img(
                "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                "cluster_size=\(cluster),compression_type=\(type)", source, image)
            // One cluster of the many is written again, and no longer compressed.
            try Content.write(77, to: source, miB..<miB + 100)
            let bytes = try Content.read(source, miB..<miB + 100)
            let pattern = scratch.path("pattern")
            try bytes.write(to: URL(fileURLWithPath: pattern))
            try QEMU.io(image, ["write -s \(pattern) 1M 100"])
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            expectSame(source, target)
        }

        @Test func `images of nothing`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: 64 * miB)
            let target = scratch.path("target.raw")
            try scratch.succeed("full", image, target, "--create")
            #expect(try Content.size(target) == 64 * miB)
            #expect(try Content.allocated(target) < miB)
            let garbage = try scratch.image("garbage.raw", size: 64 * miB, seed: 1)
            try scratch.succeed("top", image, garbage)
            #expect(try Content.read(garbage, 0..<16) == Data(Content.pageHead(1, at: 0)))
        }

        /// Anyone who may write a disk could make an image of it that reads other files: what the
        /// first bytes say counts only where the name says the same.
        @Test func `the magic under another name`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.img"), size: miB)
            try QEMU.io(image, ["write -P 1 0 64K"])
            let other = try scratch.image("other.raw", size: miB, seed: 1)
            let new = scratch.path("new.raw")
            try scratch.expectTurnedDown(
                ["full", image, new, "--create"], naming: [image, "--source-format"],
                untouched: [image])
            #expect(!FileManager.default.fileExists(atPath: new))
            try scratch.expectTurnedDown(
                ["full", other, image, "--overwrite"], naming: [image, "--target-format"],
                untouched: [image])
            try scratch.expectTurnedDown(
                ["compare", image, other], naming: [image, "--first-format"], untouched: [image])
            try scratch.expectTurnedDown(
                ["compare", other, image], naming: [image, "--second-format"], untouched: [image])
            try scratch.succeed("full", image, new, "--create", "--source-format", "qcow2")
            expectIdentical(image, new, formats: ("qcow2", "raw"))
            let bytes = scratch.path("bytes.raw")
            try scratch.succeed("full", image, bytes, "--create", "--source-format", "raw")
            expectSame(image, bytes)
        }

        @Test func `comparing images of two formats`() throws {
            let scratch = try Scratch()
            let raw = try scratch.patchwork("raw.raw", size: 2 * miB, seed: 3)
            let image = scratch.path("image.qcow2")
            try QEMU.img("convert", "-f", "raw", "-O", "qcow2", raw, image)
            let overlay = try QEMU.create(scratch.path("over.qcow2"), over: (image, "qcow2"))
            for (first, second) in [(raw, image), (image, raw), (overlay, raw), (image, overlay)] {
                try scratch.succeed("compare", first, second)
            }
            try QEMU.io(overlay, ["write -P 170 1M 1"])
            let end = try scratch.run("compare", raw, overlay)
            #expect(end.code == Code.different, "\(end)")
        }
    }
}

extension Integration {
    @Suite(
        .serialized, .enabled(if: Needs.loops && QEMU.isThere, Needs.loopsReason),
        .timeLimit(.minutes(20)))
    struct QCOW2OnDisks {
        /// A disk has no name that says what is on it.
        @Test(arguments: [512, 4096])
        func `an image on a disk`(sectorSize: Int) throws {
            let scratch = try Scratch()
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: 2 * miB, options: ["cluster_size=4096"])
            try QEMU.io(image, ["write -P 1 5000 64K", "write -c -P 7 1M 4K", "write -z 64K 64K"])
            let copy = scratch.path("copy.img")
            try Shell.run("cp", image, copy)
            try Shell.run("truncate", "-s", "8M", copy)
            let disk = try scratch.loop(over: copy, sectorSize: sectorSize)
            let target = scratch.path("target.raw")
            try scratch.expectTurnedDown(
                ["full", disk.path, target, "--create"], naming: [disk.path, "--source-format"],
                untouched: [copy])
            try scratch.succeed(
                "full", disk.path, target, "--create", "--source-format", "qcow2")
            expectIdentical(image, target, formats: ("qcow2", "raw"))
        }

        @Test(arguments: [512, 4096])
        func `an image onto a disk`(sectorSize: Int) throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: 4 * miB)
            try QEMU.io(image, ["write -P 1 5000 64K", "write -P 2 1M 1M"])
            let disk = try scratch.loop(
                "disk.img", size: 4 * miB, seed: 1, sectorSize: sectorSize)
            try scratch.succeed("full", image, disk.path, "--overwrite")
            expectIdentical(image, disk.path, formats: ("qcow2", "raw"))
            try scratch.succeed("compare", image, disk.path)
        }

        /// Pieces of 2 KiB over blocks of 4 KiB: what is copied must not be rounded over what the
        /// overlay has itself.
        @Test(arguments: ["stream", "commit"])
        func `an overlay of small pieces over a disk of large blocks`(command: String) throws {
            let scratch = try Scratch()
            let disk = try scratch.loop("disk.img", size: 2 * miB, seed: 1, sectorSize: 4096)
            let overlay = try QEMU.create(
                scratch.path("overlay.qcow2"), size: 2 * miB, options: ["extended_l2=on"],
                over: (disk.path, "raw"))
            try QEMU.io(
                overlay,
                ["write -P 1 2K 2K", "write -P 2 70K 2K", "write -z 132K 2K", "write -P 3 1M 6K"])
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            try scratch.succeed(command, overlay)
            expectSound(overlay)
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
            if command == "commit" { expectSame(merged, disk.path) }
        }

        /// A disk doesn't grow as a file does.
        @Test func `an overlay that is larger than the disk below it`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop("disk.img", size: 2 * miB, seed: 1)
            let overlay = scratch.path("overlay.qcow2")
            try QEMU.img(
                "create", "-q", "-f", "qcow2", "-b", disk.path, "-F", "raw", overlay,
                String(3 * miB))
            try QEMU.io(overlay, ["write -P 5 100K 64K"])
            for arguments in [["--dry-run"], [], ["--keep"]] {
                try scratch.expectTurnedDown(
                    ["commit", overlay] + arguments,
                    naming: [
                        "target \(disk.path) is too small", "\(2 * miB) bytes", "\(3 * miB)",
                        "make this one larger",
                    ], untouched: [overlay, scratch.path("disk.img")])
            }
            let end = try scratch.run("commit", overlay, "--json")
            #expect(end.output.contains("\"targetTooSmall\""), "\(end)")
        }

        @Test func `a disk into an image`() throws {
            let scratch = try Scratch()
            let disk = try scratch.loop(
                "disk.img", size: 4 * miB, seed: 1, sectorSize: 4096)
            let image = scratch.path("image.qcow2")
            try scratch.succeed("full", disk.path, image, "--create")
            expectIdentical(image, disk.path, formats: ("qcow2", "raw"))
            expectSound(image)
        }
    }
}
