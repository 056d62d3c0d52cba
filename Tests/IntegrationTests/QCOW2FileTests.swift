import Foundation
import TestSupport
import Testing

extension Processes {
    /// Which files an image leads to, and that no command opens or overwrites a wrong one.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Files {
        @Test func `the data file of every image is shown`() throws {
            let scratch = try Scratch()
            let data = scratch.path("data.raw")
            let base = scratch.path("base.qcow2")
            try QEMU.img("create", "-q", "-f", "qcow2", "-o", "data_file=\(data)", base, "1M")
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            #expect(try scratch.succeed("info", overlay).output.contains("data file \(data)"))
            let info = try scratch.succeed("info", overlay, "--json").report().event("image")
            #expect(info?.list("layers").map { $0.text("dataFile") } == [nil, data])
        }

        /// Nothing was written, so that there is nothing to go on from.
        @Test func `an image that can't be a target leaves no record`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source", size: miB, seed: 1)
            try scratch.bitmap("add", source, "n")
            let target = scratch.path("apart.qcow2")
            try QEMU.img(
                "create", "-q", "-f", "qcow2", "-o", "data_file=\(scratch.path("data"))", target,
                "1M")
            let end = try scratch.run("full", source, target, "--overwrite", "--bitmap", "n")
            #expect(end.code == Code.usage && end.errors.contains("data is in a file"), "\(end)")
            let list = try scratch.succeed("bitmap", "list", source).output
            #expect(!list.contains("interrupted") && !list.contains("target"), "\(list)")
        }

        @Test func `nothing but the named file is opened`() throws {
            let scratch = try Scratch()
            let secret = try scratch.image("secret", size: 64 * kiB, seed: 1)
            let base = try QEMU.create(scratch.path("base.qcow2"), size: miB)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            let raw = try QEMU.create(scratch.path("raw.qcow2"), over: (secret, "raw"))
            let apart = scratch.path("apart.qcow2")
            try QEMU.img(
                "create", "-q", "-f", "qcow2", "-o", "data_file=\(scratch.path("data"))", apart,
                "1M")
            let plain = try scratch.image("plain", size: miB, seed: 2)
            try scratch.succeed("bitmap", "add", plain, "b")
            for (image, named) in [(overlay, base), (raw, secret), (apart, scratch.path("data"))] {
                for command in [
                    ["info", image], ["full", image, scratch.path("new.raw"), "--create"],
                    ["measure", image], ["compare", image, base], ["compare", base, image],
                    ["bitmap", "list", image],
                    ["top", image, scratch.path("new.raw"), "--target-format", "raw"],
                    ["bench", "transfer", image, scratch.path("new.raw"), "--create"],
                    // What is written may be a stranger's too.
                    ["full", plain, image, "--overwrite"],
                    ["full", plain, image, "--overwrite", "--dry-run"],
                    ["incremental", plain, image, "--bitmap", "b", "--new-target"],
                    ["bench", "transfer", plain, image, "--overwrite"],
                    ["bitmap", "diff", plain, image, "--into", "b"],
                    ["bitmap", "add", image, "b"],
                ] {
                    try scratch.expectTurnedDown(
                        command + ["--no-backing"],
                        naming: ["\"\(named)\"", "no file may be opened"],
                        untouched: [secret, plain, image])
                }
            }
            try scratch.expectTurnedDown(
                [
                    "full", plain, scratch.path("new.qcow2"), "--create", "--backing", secret,
                    "--backing-format", "raw", "--no-backing",
                ], codes: [Code.usage], naming: ["--backing", "--no-backing"])
            // What needs nothing else is used as ever.
            try scratch.succeed("info", base, "--no-backing")
            try scratch.succeed("full", base, scratch.path("new.raw"), "--create", "--no-backing")
        }

        @Test(arguments: [1, 2, 3])
        func `a chain that runs in a circle`(length: Int) throws {
            let scratch = try Scratch()
            let names = (0..<length).map { scratch.path("\($0).qcow2") }
            for (index, name) in names.enumerated() {
                if index == 0 {
                    try QEMU.create(name, size: miB)
                } else {
                    try QEMU.create(name, over: (names[index - 1], "qcow2"))
                }
            }
            try QEMU.img("rebase", "-u", "-b", names[length - 1], "-F", "qcow2", names[0])
            let top = names[length - 1]
            for command in [
                ["info", top], ["stream", top], ["commit", top],
                ["full", top, scratch.path("new"), "--create"], ["measure", top],
                ["bitmap", "add", top, "b"],
            ] {
                try scratch.expectTurnedDown(command, naming: ["twice"], untouched: names)
            }
        }

        @Test func `what the command itself has open is not blamed on others`() throws {
            let scratch = try Scratch()
            let source = try QEMU.create(scratch.path("source.qcow2"), size: miB)
            try scratch.succeed("bitmap", "add", source, "b")
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (source, "qcow2"))
            let end = try scratch.expectTurnedDown(
                ["incremental", source, overlay, "--bitmap", "b"],
                naming: ["by this very command"], untouched: [source, overlay])
            #expect(!end.errors.contains("another process"))
        }

        @Test func `a map never takes the place of what it tells about`() throws {
            let scratch = try Scratch()
            let data = scratch.path("data.raw")
            let base = scratch.path("base.qcow2")
            try QEMU.img("create", "-q", "-f", "qcow2", "-o", "data_file=\(data)", base, "1M")
            let image = try QEMU.create(scratch.path("image.qcow2"), over: (base, "qcow2"))
            try scratch.succeed("bitmap", "add", image, "b")
            let raw = try scratch.image("raw", size: miB, seed: 1)
            try scratch.succeed("bitmap", "add", raw, "b")
            let link = scratch.path("link")
            let hard = scratch.path("hard")
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: base)
            try FileManager.default.linkItem(atPath: raw, toPath: hard)
            for (source, file) in [
                (image, image), (image, base), (image, data), (image, link), (raw, raw),
                (raw, raw + ".bitmaps"), (raw, hard),
            ] {
                try scratch.expectTurnedDown(
                    ["bitmap", "export", source, "b", file, "--overwrite"], naming: [file],
                    untouched: [image, base, data, raw, raw + ".bitmaps"])
            }
        }

        @Test func `a map that can't be written leaves the old one`() throws {
            let scratch = try Scratch()
            let raw = try scratch.file("raw", size: 64 * miB)
            try scratch.succeed("bitmap", "add", raw, "b", "--granularity", "512")
            let map = scratch.path("map")
            try "old".write(toFile: map, atomically: true, encoding: .utf8)
            let link = scratch.path("link")
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: map)
            let export = ["bitmap", "export", raw, "b", link, "--overwrite"]
            let end = try scratch.run(export, prefix: ["prlimit", "--fsize=10"])
            #expect(end.code != 0)
            #expect(try String(contentsOfFile: map, encoding: .utf8) == "old")
            #expect(try scratch.names() == ["link", "map", "raw", "raw.bitmaps"])
            try scratch.succeed(export)
            #expect(try String(contentsOfFile: map, encoding: .utf8).hasPrefix("ringmirror bitmap"))
        }
    }
}

extension Scratch {
    /// The files in the folder, but for those that keep what programs said.
    func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
            .filter { !$0.hasPrefix("child-") }
    }
}
