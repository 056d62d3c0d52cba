import Foundation
import TestSupport
import Testing

extension Processes {
    /// Mirrors into qcow2 images, new ones and such with a past: QEMU must find them sound, and
    /// the same as the source.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Writing {
        struct Layout: CustomTestStringConvertible {
            let cluster: String
            var options: [String] = []
            var size = 3 * miB

            var testDescription: String {
                "\(size) \(cluster) \(options.joined(separator: " "))"
            }

            static let all: [Layout] =
                ["512", "4K", "64K", "256K", "2M"].map { Layout(cluster: $0) }
                + ["16K", "64K", "2M"].map { Layout(cluster: $0, options: ["--extended-l2"]) }
                + ["512", "64K"].map { Layout(cluster: $0, options: ["--lazy-refcounts"]) }
                + ["4K", "64K", "2M"].map {
                    Layout(cluster: $0, options: ["--preallocate", "metadata"])
                }
                + [
                    Layout(
                        cluster: "64K", options: ["--extended-l2", "--preallocate", "metadata"]),
                    Layout(cluster: "64K", size: 512), Layout(cluster: "64K", size: 4097),
                    Layout(cluster: "512", size: 1025 * kiB),
                    Layout(cluster: "2M", size: 1025 * kiB),
                    // More tables than one, of each kind, where clusters are small.
                    Layout(cluster: "512", size: 12 * miB), Layout(cluster: "4K", size: 20 * miB),
                ]
        }

        /// QEMU sees whole sectors only, and must not miss the end of the disk.
        @Test(arguments: [1, 511, 513, miB - 476])
        func `a disk that ends off the sector`(size: Int64) throws {
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: size, seed: 7)
            let target = scratch.path("target.qcow2")
            try scratch.succeed("full", source, target, "--create", "--verify")
            expectSound(target)
            expectIdentical(source, target, formats: ("raw", "qcow2"))
            // The same again into what is there.
            try scratch.succeed("full", source, target, "--overwrite")
            expectIdentical(source, target, formats: ("raw", "qcow2"))
        }

        @Test(arguments: Layout.all)
        func `a new image`(layout: Layout) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: layout.size, seed: 11)
            if layout.size > 3 * miB { try Content.write(4, to: source, 0..<layout.size) }
            let image = scratch.path("image.qcow2")
            try scratch.succeed(
                ["full", source, image, "--create", "--cluster-size", layout.cluster]
                    + layout.options)
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            let info = try QEMU.info(image)
            let details = try QEMU.details(image)
            #expect(info.number("cluster-size") == Self.bytes(layout.cluster))
            let isLazy = layout.options.contains("--lazy-refcounts")
            #expect(details.flag("lazy-refcounts") == isLazy)
            #expect(details.flag("extended-l2") == layout.options.contains("--extended-l2"))
            #expect(details.text("compat") == "1.1")
            if layout.options.contains("--preallocate") {
                let check = try QEMU.json("check", "-f", "qcow2", image)
                #expect(check.number("allocated-clusters") == check.number("total-clusters"))
            }
            // The image is a source as good as the first one.
            let back = scratch.path("back.raw")
            try scratch.succeed("full", image, back, "--create")
            expectSame(source, back, count: layout.size)
        }

        private static func bytes(_ text: String) -> Int64 {
            let digits = Int64(text.filter(\.isNumber)) ?? 0
            return digits * (text.hasSuffix("K") ? kiB : text.hasSuffix("M") ? miB : 1)
        }

        /// Without a name that says so, the option does.
        @Test func `a new image under another name`() throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: miB, seed: 1)
            let image = scratch.path("image.disk")
            try scratch.succeed("full", source, image, "--create", "--target-format", "qcow2")
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            let raw = scratch.path("raw.qcow2")
            try scratch.succeed("full", source, raw, "--create", "--target-format", "raw")
            expectSame(source, raw)
        }

        /// A hole of the source must hide what the new image has below it.
        @Test(arguments: ["64K", "4K", "2M"], [false, true])
        func `a new image over another`(cluster: String, isExtended: Bool) throws {
            guard !isExtended || cluster != "4K" else { return }
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 3 * miB, seed: 21)
            let base = try QEMU.create(scratch.path("base.qcow2"), size: 3 * miB)
            try QEMU.io(base, ["write -P 0x2a 0 3M"])
            let before = try Content.fingerprint(base)
            let image = scratch.path("image.qcow2")
            try scratch.succeed(
                [
                    "full", source, image, "--create", "--cluster-size", cluster, "--backing",
                    base, "--backing-format", "qcow2",
                ] + (isExtended ? ["--extended-l2"] : []))
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            let info = try QEMU.info(image)
            #expect(info.text("backing-filename-format") == "qcow2")
            #expect(info.text("full-backing-filename") == base)
            #expect(try Content.fingerprint(base) == before)
        }

        /// Images that are full of old data, made in every way.
        static let existing: [[String]] = [
            ["cluster_size=512"], ["cluster_size=4096"], ["cluster_size=65536"],
            ["cluster_size=2097152"], ["compat=0.10"], ["compat=0.10", "cluster_size=512"],
            ["extended_l2=on"], ["extended_l2=on", "cluster_size=16384"], ["lazy_refcounts=on"],
            ["refcount_bits=1"], ["refcount_bits=2"], ["refcount_bits=4"], ["refcount_bits=8"],
            ["refcount_bits=32"], ["refcount_bits=64"], ["preallocation=metadata"],
            ["preallocation=falloc"], ["compression_type=zstd"],
        ]

        @Test(arguments: existing)
        func `an image with garbage where the source has holes`(options: [String]) throws {
            let scratch = try Scratch()
            let size = 2 * miB + 512
            let source = try scratch.patchwork("source.raw", size: size, seed: 31)
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: size, options: options)
            try QEMU.io(image, ["write -P 0x2a 0 \(size)"])
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            // And once more, when everything is there already.
            try Content.write(6, to: source, 3..<70 * kiB)
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
        }

        /// The holes of the source are zeros in the target, and not what the target's backing has.
        @Test(arguments: ["0.10", "1.1"])
        func `an overlay with garbage, over garbage`(compat: String) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 2 * miB, seed: 41)
            let base = try QEMU.create(scratch.path("base.qcow2"), size: 2 * miB)
            try QEMU.io(base, ["write -P 0x2a 0 2M"])
            let image = try QEMU.create(
                scratch.path("image.qcow2"), options: ["compat=\(compat)"], over: (base, "qcow2"))
            try QEMU.io(image, ["write -P 0x2b 512K 1M"])
            let before = try Content.fingerprint(base)
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            #expect(try Content.fingerprint(base) == before)
        }

        /// What a snapshot shares with the present is written elsewhere from now on.
        @Test(arguments: [["refcount_bits=16"], ["refcount_bits=2"], ["compat=0.10"]])
        func `an image with snapshots`(options: [String]) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 2 * miB, seed: 51)
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: 2 * miB, options: options)
            try QEMU.io(image, ["write -P 1 0 1M"])
            try QEMU.img("snapshot", "-c", "first", image)
            try QEMU.io(image, ["write -P 2 512K 1M"])
            try QEMU.img("snapshot", "-c", "second", image)
            var before: [String] = []
            for name in ["first", "second"] {
                before.append(try Self.snapshot(name, of: image, in: scratch))
            }
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            for (name, content) in zip(["first", "second"], before) {
                #expect(try Self.snapshot(name, of: image, in: scratch) == content)
            }
        }

        private static func snapshot(
            _ name: String, of image: String, in scratch: Scratch
        ) throws -> String {
            let raw = scratch.path("snapshot-\(UInt32.random(in: 0 ... .max))")
            try QEMU.img(
                "convert", "-f", "qcow2", "-l", "snapshot.name=\(name)", "-O", "raw", image, raw)
            return try Content.fingerprint(raw)
        }

        @Test(arguments: ["zlib", "zstd"], ["4096", "65536"])
        func `an image of compressed clusters`(type: String, cluster: String) throws {
            let scratch = try Scratch()
            let old = try scratch.image("old.raw", size: 2 * miB, seed: 1)
            try Content.zeros(to: old, 1000..<900 * kiB)
            let image = scratch.path("image.qcow2")
            try QEMU.img(
                "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                "cluster_size=\(cluster),compression_type=\(type)", old, image)
            let source = try scratch.patchwork("source.raw", size: 2 * miB, seed: 61)
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
        }

        /// Images with any past, all of whose layers but the top stay as they are.
        @Test func `images with a past`() throws {
            try ImageHistory.each(
                12, from: 0x3b00, traits: [.snapshots, .bitmaps]
            ) { history, scratch in
                let top = history.top
                let source = try scratch.patchwork(
                    "source.raw", size: top.size, seed: history.seed)
                let below = try history.layers.dropLast().map {
                    try Content.fingerprint($0.path)
                }
                var snapshots: [String] = []
                for name in top.snapshots {
                    snapshots.append(try Self.snapshot(name, of: top.path, in: scratch))
                }
                try scratch.succeed(["full", source, top.path, "--overwrite"], "\(history)")
                expectSound(top.path, "\(history)")
                expectIdentical(source, top.path, formats: ("raw", "qcow2"), "\(history)")
                for (name, content) in zip(top.snapshots, snapshots) {
                    let after = try Self.snapshot(name, of: top.path, in: scratch)
                    #expect(after == content, "\(history)")
                }
                let after = try history.layers.dropLast().map {
                    try Content.fingerprint($0.path)
                }
                #expect(after == below, "\(history)")
            }
        }

        /// Both sides are chains; the target's top is what is written.
        @Test func `from one chain into a new image, and back into the chain`() throws {
            try ImageHistory.each(6, from: 0x4c00, traits: [.snapshots]) { history, scratch in
                let image = scratch.path("image.qcow2")
                try scratch.succeed(["full", history.top.path, image, "--create"], "\(history)")
                expectSound(image, "\(history)")
                expectIdentical(history.top.path, image, "\(history)")
                try QEMU.io(image, ["write -P 99 0 512", "write -z \(history.top.size - 512) 512"])
                try scratch.succeed(["full", image, history.top.path, "--overwrite"], "\(history)")
                expectSound(history.top.path, "\(history)")
                expectIdentical(history.top.path, image, "\(history)")
            }
        }

        /// An image of nothing can be lost; one that holds something asks.
        @Test func `allocated clusters ask for --overwrite`() throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: miB, seed: 1)
            let empty = try QEMU.create(scratch.path("empty.qcow2"), size: miB)
            try scratch.succeed("full", source, empty)
            expectIdentical(source, empty, formats: ("raw", "qcow2"))
            try scratch.expectTurnedDown(
                ["full", source, empty], naming: [empty, "--overwrite"], untouched: [empty])
            try scratch.expectTurnedDown(
                ["full", source, empty, "--create"], naming: ["exists"], untouched: [empty])
        }

        /// It is the size of the disk in the image that has to be right.
        @Test func `images of another size`() throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 2 * miB, seed: 1)
            let small = try QEMU.create(scratch.path("small.qcow2"), size: miB)
            let large = try QEMU.create(scratch.path("large.qcow2"), size: 4 * miB)
            try scratch.expectTurnedDown(
                ["full", source, small], naming: ["small"], untouched: [small])
            try scratch.expectTurnedDown(
                ["full", source, large], naming: ["--allow-larger"], untouched: [large])
            try scratch.succeed("full", source, large, "--allow-larger")
            expectSound(large)
            let merged = try QEMU.flatten(large, to: scratch.path("merged"))
            expectSame(source, merged, count: 2 * miB)
        }

        /// What is nothing in the source takes no room in the target.
        @Test func `a sparse source makes a small image`() throws {
            let scratch = try Scratch()
            let source = try scratch.file("source.raw", size: 1 << 40)
            try Content.write(1, to: source, 512 << 30..<(512 << 30) + 300 * kiB)
            let image = scratch.path("image.qcow2")
            try scratch.succeed("full", source, image, "--create")
            expectSound(image)
            #expect(try Content.size(image) < 32 * miB)
            #expect(try Content.allocated(image) < 4 * miB)
            let back = scratch.path("back.raw")
            try scratch.succeed("full", image, back, "--create")
            #expect(
                try Content.read(back, 512 << 30..<(512 << 30) + 300 * kiB)
                    == Content.read(source, 512 << 30..<(512 << 30) + 300 * kiB))
        }
    }
}
