import Foundation
import TestSupport
import Testing

extension Processes {
    /// What is told about images, next to what QEMU tells about them.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Tools {
        private static func overlay(_ scratch: Scratch) throws -> (String, String) {
            let base = try QEMU.create(scratch.path("base.qcow2"), size: 4 * miB)
            try QEMU.io(base, ["write -P 1 0 2M"])
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            try QEMU.img("bitmap", "--add", "-g", "64K", overlay, "nightly")
            try QEMU.io(overlay, ["write -P 2 1M 128K", "write -z -u 3M 64K"])
            return (base, overlay)
        }

        @Test func `information about a chain`() throws {
            let scratch = try Scratch()
            let (base, overlay) = try Self.overlay(scratch)
            let text = try scratch.succeed("info", overlay).output
            for word in ["qcow2", base, "nightly"] {
                #expect(text.contains(word), "\(word) in \(text)")
            }
            let event = try scratch.succeed("info", overlay, "--json").report()
            let info = try #require(event.event("image"))
            #expect(info.number("size") == 4 * miB)
            let layers = info.list("layers")
            #expect(layers.map { $0.text("path") } == [overlay, base])
            #expect(layers.map { $0.number("dataBytes") } == [128 * kiB, 2 * miB])
            #expect(layers.map { $0.number("zeroBytes") } == [64 * kiB, 0])
            let bitmaps = info.list("bitmaps")
            #expect(bitmaps.map { $0.text("name") } == ["nightly"])
            #expect(bitmaps.map { $0.number("dirtyBytes") } == [192 * kiB])
        }

        /// A new image needs as many bytes as it turns out to have.
        @Test(arguments: ["4096", "65536", "2097152"])
        func `what a new image will need`(cluster: String) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 6 * miB, seed: 3)
            let report = try scratch.succeed(
                "measure", source, "--target-format", "qcow2", "--cluster-size", cluster, "--json"
            ).report()
            let required = try #require(report.number("required"))
            let full = try #require(report.number("fullyAllocated"))
            let image = scratch.path("image.qcow2")
            try scratch.succeed("full", source, image, "--create", "--cluster-size", cluster)
            #expect(try Content.size(image) <= required)
            let theirs = try QEMU.json(
                "measure", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=\(cluster)", source)
            #expect(full == theirs.number("fully-allocated"))
            #expect(required <= full)
        }

        @Test func `what a mirror will move`() throws {
            let scratch = try Scratch()
            let (base, overlay) = try Self.overlay(scratch)
            func expect(_ data: Int64, _ zeros: Int64, _ arguments: String...) throws {
                let report = try scratch.succeed(
                    ["measure", overlay, "--json"] + arguments
                ).report()
                #expect(report.number("dataBytes") == data, "\(arguments)")
                if zeros > 0 {
                    #expect(report.number("zeroBytes") == zeros, "\(arguments)")
                    #expect(report.number("planned") == data + zeros, "\(arguments)")
                }
            }
            try expect(128 * kiB, 64 * kiB, "--mode", "top")
            try expect(128 * kiB, 64 * kiB, "--mode", "top", "--base", base)
            try expect(128 * kiB, 64 * kiB, "--mode", "incremental", "--bitmap", "nightly")
            try expect(2 * miB, 0, "--mode", "full")
            try scratch.expectTurnedDown(
                ["measure", overlay, "--mode", "incremental"], codes: [Code.usage], naming: [])
        }

        /// The whole of it is a matter of its tables, not of its size.
        @Test func `a large image with little in it`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: 64 << 40)
            try QEMU.io(image, ["write -P 1 0 64K", "write -P 2 63T 64K", "write -P 3 7T 128K"])
            let report = try scratch.succeed("measure", image, "--json").report()
            #expect(report.number("dataBytes") == 256 * kiB)
        }
    }
}
