import Foundation
import TestSupport
import Testing

extension Processes {
    /// What overlays are for: a backup, what changed since on top of it, and layers that are drawn
    /// up into their overlay or pushed down into their base.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Overlays {
        static let size = 4 * miB
        /// An image whose data is in a file of its own is only read.
        static let traits: ImageHistory.Traits = [.snapshots, .bitmaps]

        /// A base with data, and an overlay that has overwritten, zeroed and added to it.
        private static func pair(_ scratch: Scratch, baseFormat: String = "qcow2") throws
            -> (base: String, overlay: String)
        {
            let base = scratch.path("base.\(baseFormat)")
            try QEMU.img("create", "-q", "-f", baseFormat, base, String(size))
            try QEMU.io(base, format: baseFormat, ["write -P 1 0 2M", "write -P 2 3M 300K"])
            let overlay = try QEMU.create(
                scratch.path("overlay.qcow2"), over: (base, baseFormat))
            try QEMU.io(
                overlay,
                ["write -P 3 100K 200K", "write -z -u 1M 128K", "write -P 4 2500K 64K"])
            return (base, overlay)
        }

        @Test func `a base whose bitmaps can't be marked does not grow`() throws {
            let scratch = try Scratch()
            let base = try scratch.image("base.raw", size: miB, seed: 1)
            let overlay = scratch.path("overlay.qcow2")
            try QEMU.img(
                "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay, String(2 * miB))
            try QEMU.io(overlay, ["write -P 5 100K 64K"])
            try "junk".write(toFile: base + ".bitmaps", atomically: false, encoding: .utf8)
            for arguments in [["--dry-run"], []] {
                let end = try scratch.run(["commit", overlay] + arguments)
                #expect(end.code == Code.refused, "\(end)")
                #expect(end.errors.contains("is not a bitmap store"), "\(end)")
                #expect(try Data(contentsOf: URL(fileURLWithPath: base)).count == Int(miB))
            }
        }

        /// Backup, a second layer of backup from the overlay's own clusters, and a third one from
        /// a bitmap; each a thin layer upon the last.
        @Test func `a chain of backups`() throws {
            let scratch = try Scratch()
            let (base, overlay) = try Self.pair(scratch)
            let first = scratch.path("first.qcow2")
            try scratch.succeed("full", base, first, "--create")
            expectIdentical(base, first)
            let second = scratch.path("second.qcow2")
            try scratch.succeed(
                "top", overlay, second, "--create", "--target-format", "qcow2", "--backing",
                first, "--backing-format", "qcow2")
            expectSound(second)
            expectIdentical(overlay, second)
            #expect(try QEMU.ownBytes(second) == (try QEMU.ownBytes(overlay)))
            try QEMU.img("bitmap", "--add", "-g", "64K", overlay, "b")
            try QEMU.io(overlay, ["write -P 5 0 10", "write -z -u 2500K 64K", "write -P 6 3M 1M"])
            let third = scratch.path("third.qcow2")
            try scratch.succeed(
                "incremental", overlay, third, "--bitmap", "b", "--create", "--target-format",
                "qcow2", "--backing", second, "--backing-format", "qcow2")
            expectSound(third)
            expectSound(overlay)
            expectIdentical(overlay, third)
            #expect(try QEMU.dirty(overlay, "b").isEmpty)
            #expect(try QEMU.ownBytes(third) == (1 + 2 + 16) * 64 * kiB)
            let info = try QEMU.info(third)
            #expect(info.text("full-backing-filename") == second)
            // Brought up to date where it is, too.
            try QEMU.io(overlay, ["write -P 7 64K 64K", "write -z 3500K 100K"])
            try scratch.succeed("incremental", overlay, third, "--bitmap", "b", "--new-target")
            expectSound(third)
            expectIdentical(overlay, third)
        }

        /// A cluster that is written in part has the rest of it from below, whatever the size of
        /// the target's clusters.
        @Test(arguments: ["4K", "64K", "2M"], ["512", "65536"])
        func `the top layer into an overlay of other clusters`(
            target: String, source: String
        ) throws {
            let scratch = try Scratch()
            let base = try scratch.patchwork("base.raw", size: Self.size, seed: 3)
            let overlay = try QEMU.create(
                scratch.path("overlay.qcow2"), options: ["cluster_size=\(source)"],
                over: (base, "raw"))
            try QEMU.io(
                overlay, ["write -P 3 100K 70000", "write -z -u 1M 128K", "write -P 4 3000K 1K"])
            let copy = scratch.path("copy.raw")
            try Shell.run("cp", base, copy)
            let top = scratch.path("top.qcow2")
            try scratch.succeed(
                "top", overlay, top, "--create", "--target-format", "qcow2", "--backing", copy,
                "--backing-format", "raw", "--cluster-size", target)
            expectSound(top)
            expectIdentical(overlay, top)
        }

        /// As in the header, so on the command line: a name alone is beside the new image.
        @Test func `a backing image by its name alone`() throws {
            let scratch = try Scratch()
            let (_, overlay) = try Self.pair(scratch)
            let folder = scratch.path("backup")
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            let sunday = folder + "/sunday.qcow2"
            let monday = folder + "/monday.qcow2"
            try QEMU.img("bitmap", "--add", overlay, "nightly")
            try scratch.succeed("full", overlay, sunday, "--create", "--bitmap", "nightly")
            try QEMU.io(overlay, ["write -P 9 1M 64K"])
            try scratch.succeed(
                "incremental", overlay, monday, "--bitmap", "nightly", "--create", "--backing",
                "sunday.qcow2", "--backing-format", "qcow2")
            expectIdentical(overlay, monday)
            #expect(try QEMU.info(monday).text("backing-filename") == "sunday.qcow2")
            try Shell.run("mv", folder, scratch.path("elsewhere"))
            expectIdentical(overlay, scratch.path("elsewhere/monday.qcow2"))
            try scratch.succeed("stream", scratch.path("elsewhere/monday.qcow2"))
            unlink(scratch.path("elsewhere/sunday.qcow2"))
            expectIdentical(overlay, scratch.path("elsewhere/monday.qcow2"))
            expectSound(scratch.path("elsewhere/monday.qcow2"))
        }

        @Test func `what is above a layer in the middle`() throws {
            let scratch = try Scratch()
            let (base, middle) = try Self.pair(scratch)
            let top = try QEMU.create(scratch.path("top.qcow2"), over: (middle, "qcow2"))
            try QEMU.io(top, ["write -P 8 150K 64K", "write -z -u 3M 64K"])
            let new = scratch.path("new.qcow2")
            try scratch.succeed(
                "top", top, new, "--base", base, "--create", "--target-format", "qcow2",
                "--backing", base, "--backing-format", "qcow2")
            expectSound(new)
            expectIdentical(top, new)
            let stranger = try QEMU.create(scratch.path("stranger.qcow2"), size: Self.size)
            try scratch.expectTurnedDown(
                ["top", top, new, "--base", stranger], codes: [Code.usage, Code.refused],
                naming: [stranger], untouched: [new])
        }

        @Test(arguments: ["raw", "qcow2"])
        func `an overlay that takes over what is below`(format: String) throws {
            let scratch = try Scratch()
            let (base, overlay) = try Self.pair(scratch, baseFormat: format)
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            let before = try Content.fingerprint(base)
            try scratch.succeed("stream", overlay)
            expectSound(overlay)
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
            #expect(try QEMU.info(overlay).text("backing-filename") == nil)
            #expect(try Content.fingerprint(base) == before)
            // What it no longer needs may go.
            unlink(base)
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
        }

        @Test func `an overlay that takes over the layers above one`() throws {
            let scratch = try Scratch()
            let (base, middle) = try Self.pair(scratch)
            let top = try QEMU.create(scratch.path("top.qcow2"), over: (middle, "qcow2"))
            try QEMU.io(top, ["write -P 8 150K 64K", "write -z -u 3M 64K"])
            let merged = try QEMU.flatten(top, to: scratch.path("merged"))
            try scratch.succeed("stream", top, "--base", base)
            expectSound(top)
            expectIdentical(merged, top, formats: ("raw", "qcow2"))
            let info = try QEMU.info(top)
            #expect(info.text("full-backing-filename") == base)
            #expect(info.text("backing-filename-format") == "qcow2")
            // Only what the middle has of its own has come up.
            #expect(try QEMU.ownBytes(top) < 2 * miB)
            unlink(middle)
            expectIdentical(merged, top, formats: ("raw", "qcow2"))
        }

        /// An overlay of an overlay, a mirror of it, and the words with which its bitmap is named:
        /// one of the store that is looked for by whatever writes the overlay.
        private static func mirrored(
            _ scratch: Scratch
        ) throws -> (base: String, top: String, increment: [String]) {
            let (base, middle) = try pair(scratch)
            let top = try QEMU.create(scratch.path("top.qcow2"), over: (middle, "qcow2"))
            let bitmap = ["--bitmap", "n", "--bitmaps", top + ".bitmaps"]
            try scratch.succeed("bitmap", "add", top, "n", "--bitmaps", top + ".bitmaps")
            let target = scratch.path("target.raw")
            try scratch.succeed(["full", top, target, "--create"] + bitmap)
            return (base, top, ["incremental", top, target, "--json"] + bitmap)
        }

        @Test(arguments: [false, true])
        func `what an overlay draws up is no change of it to its bitmaps`(toBase: Bool) throws {
            let scratch = try Scratch()
            let (base, top, increment) = try Self.mirrored(scratch)
            let end = try scratch.succeed(
                ["stream", top, "--json"] + (toBase ? ["--base", base] : []))
            #expect(try end.report().fields["markedBitmaps"] as? [String] == [], "\(end)")
            let next = try scratch.succeed(increment)
            #expect(try next.report().text("claim") == "nothingCopied", "\(next)")
            expectIdentical(top, scratch.path("target.raw"), formats: ("qcow2", "raw"))
            // What is a change is still seen.
            try QEMU.io(top, ["write -P 9 3500K 64K"])
            let refused = try scratch.run(increment)
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(try refused.report().text("code") == "unmarkedWrites", "\(refused)")
        }

        @Test func `a stream does not hide what was written before it`() throws {
            let scratch = try Scratch()
            let (_, top, increment) = try Self.mirrored(scratch)
            try QEMU.io(top, ["write -P 9 3500K 64K"])
            try scratch.succeed("stream", top)
            let refused = try scratch.run(increment)
            #expect(refused.code == Code.refused, "\(refused)")
            #expect(try refused.report().text("code") == "unmarkedWrites", "\(refused)")
        }

        @Test func `what stands on that image already`() throws {
            let scratch = try Scratch()
            let (base, overlay) = try Self.pair(scratch)
            try scratch.expectTurnedDown(
                ["stream", overlay, "--base", base], codes: [Code.usage], naming: ["already"],
                untouched: [overlay])
        }

        /// An image between may be larger, and what is behind the overlay's end is nobody's.
        @Test func `a larger image is between an overlay and what it goes on to stand on`() throws {
            let scratch = try Scratch()
            let base = try QEMU.create(scratch.path("base.qcow2"), size: 2 * miB)
            try QEMU.io(base, ["write -P 1 0 2M"])
            let middle = try QEMU.create(
                scratch.path("middle.qcow2"), size: 5 * miB, over: (base, "qcow2"))
            try QEMU.io(middle, ["write -P 2 1M 4M"])
            let top = try QEMU.create(
                scratch.path("top.qcow2"), size: 3 * miB + 512, over: (middle, "qcow2"))
            try QEMU.io(top, ["write -P 3 64K 64K"])
            let merged = try QEMU.flatten(top, to: scratch.path("merged"))
            try scratch.succeed("stream", top, "--base", base)
            expectSound(top)
            expectIdentical(merged, top, formats: ("raw", "qcow2"))
        }

        /// Clusters of one image say nothing about those of another.
        @Test func `images above a base have clusters of other sizes`() throws {
            let scratch = try Scratch()
            let base = try QEMU.create(scratch.path("base.qcow2"), size: 4 * miB)
            let middle = try QEMU.create(
                scratch.path("middle.qcow2"), size: 4 * miB, over: (base, "qcow2"))
            try QEMU.io(middle, ["write -P 1 1M 64K"])
            let top = try QEMU.create(
                scratch.path("top.qcow2"), size: 4 * miB, options: ["cluster_size=2M"],
                over: (middle, "qcow2"))
            let target = scratch.path("target.raw")
            try QEMU.img("create", "-q", "-f", "raw", target, "4M")
            try QEMU.io(target, format: "raw", ["write -P 9 0 4M"])
            let expected = scratch.path("expected.raw")
            try QEMU.img("create", "-q", "-f", "raw", expected, "4M")
            try QEMU.io(expected, format: "raw", ["write -P 9 0 4M", "write -P 1 1M 64K"])
            try scratch.succeed("top", top, target, "--base", base)
            expectSame(expected, target)
        }

        /// Whatever the chain: the view is the same, before and after.
        @Test func `chains with a past take over what is below`() throws {
            try ImageHistory.each(8, from: 0x5d00, traits: Self.traits, depth: 2...4) {
                history, scratch in
                let top = history.top.path
                let merged = try history.flatten(
                    history.layers.count - 1, to: scratch.path("merged"))
                guard history.top.snapshots.isEmpty else {
                    // They take from below, too.
                    try scratch.expectTurnedDown(
                        ["stream", top], naming: ["snapshots"], untouched: [top])
                    return
                }
                try scratch.succeed(["stream", top], "\(history)")
                expectSound(top, "\(history)")
                expectIdentical(merged, top, formats: ("raw", "qcow2"), "\(history)")
                #expect(try QEMU.info(top).text("backing-filename") == nil, "\(history)")
            }
        }

        @Test(arguments: ["raw", "qcow2"], [false, true])
        func `an overlay that is moved into its base`(format: String, keeps: Bool) throws {
            let scratch = try Scratch()
            let (base, overlay) = try Self.pair(scratch, baseFormat: format)
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            let own = try QEMU.ownBytes(overlay)
            try scratch.succeed(["commit", overlay] + (keeps ? ["--keep"] : []))
            expectSound(overlay)
            if format == "qcow2" { expectSound(base) }
            expectIdentical(merged, base, formats: ("raw", format))
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
            #expect(try QEMU.ownBytes(overlay) == (keeps ? own : 0))
            #expect(try QEMU.info(overlay).text("full-backing-filename") == base)
            // The overlay goes on as one.
            try QEMU.io(overlay, ["write -P 11 0 1000"])
            try scratch.succeed("commit", overlay)
            expectIdentical(base, overlay, formats: (format, "qcow2"))
        }

        /// The base grows when its overlay is larger, and keeps its own end when it is not.
        @Test(arguments: ["raw", "qcow2"], [2 * miB + 512, 6 * miB + 512])
        func `an overlay of another size is moved into its base`(
            format: String, size: Int64
        ) throws {
            let scratch = try Scratch()
            let base = scratch.path("base.\(format)")
            try QEMU.img("create", "-q", "-f", format, base, String(Self.size))
            try QEMU.io(base, format: format, ["write -P 1 0 \(Self.size)"])
            let overlay = try QEMU.create(
                scratch.path("overlay.qcow2"), size: size, over: (base, format))
            try QEMU.io(overlay, ["write -P 3 \(size - 100_000) 100000", "write -z -u 1M 64K"])
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            let before = try QEMU.flatten(base, format: format, to: scratch.path("before"))
            try scratch.succeed("commit", overlay)
            expectSound(overlay)
            if format == "qcow2" { expectSound(base) }
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
            let after = try QEMU.flatten(base, format: format, to: scratch.path("after"))
            expectSame(merged, after, count: size)
            if size < Self.size {
                expectSame(before, after, count: Self.size - size, skip: size)
            }
        }

        /// What is in the data file is no cluster of the image.
        @Test func `an overlay whose data is in a file of its own`() throws {
            let scratch = try Scratch()
            let base = try QEMU.create(scratch.path("base.qcow2"), size: miB)
            let overlay = try QEMU.create(
                scratch.path("overlay.qcow2"), size: miB,
                options: ["data_file=\(scratch.path("data"))"], over: (base, "qcow2"))
            try QEMU.io(overlay, ["write -P 1 64K 128K"])
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            try scratch.expectTurnedDown(
                ["commit", overlay], codes: [Code.usage], naming: ["--keep"],
                untouched: [overlay, base])
            try scratch.succeed("commit", overlay, "--keep")
            expectSound(overlay)
            expectIdentical(merged, base, formats: ("raw", "qcow2"))
        }

        @Test func `chains with a past are moved into their base`() throws {
            try ImageHistory.each(8, from: 0x6e00, traits: Self.traits, depth: 2...4) {
                history, scratch in
                let top = history.top
                let merged = try history.flatten(
                    history.layers.count - 1, to: scratch.path("merged"))
                let below = history.layers[history.layers.count - 2]
                if !top.snapshots.isEmpty {
                    try scratch.expectTurnedDown(
                        ["commit", top.path], naming: ["snapshots"], untouched: [top.path])
                    return
                }
                if below.size < top.size && !below.bitmaps.isEmpty {
                    // Its bitmaps can't grow, and must not be left behind.
                    try scratch.expectTurnedDown(
                        ["commit", top.path], naming: ["bitmaps", "resize"])
                    return
                }
                try scratch.succeed(["commit", top.path], "\(history)")
                expectSound(top.path, "\(history)")
                expectIdentical(merged, top.path, formats: ("raw", "qcow2"), "\(history)")
                let base = history.layers[history.layers.count - 2]
                let after = try QEMU.flatten(
                    base.path, format: base.format, to: scratch.path("after"))
                expectSame(merged, after, count: top.size)
                if base.format == "qcow2" { expectSound(base.path, "\(history)") }
            }
        }

        @Test func `what has nothing below it`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: miB)
            let raw = try scratch.image("raw.raw", size: miB, seed: 1)
            for command in ["stream", "commit"] {
                for path in [image, raw] {
                    let codes: Set = [Code.done, Code.usage, Code.refused]
                    let before = try Content.fingerprint(path)
                    let end = try scratch.run(command, path)
                    #expect(end.code.map(codes.contains) == true, "\(command) \(end)")
                    #expect(end.code != Code.done || path == image && command == "stream")
                    #expect(try Content.fingerprint(path) == before)
                }
            }
        }
    }
}
