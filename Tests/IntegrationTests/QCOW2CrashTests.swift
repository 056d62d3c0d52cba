import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Jobs on qcow2 images that are killed in the middle: an image may have lost track of some
    /// of its room, and of nothing else.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Crashes {
        static let size = 12 * miB

        @Test(.enabled(if: Needs.strace, Needs.straceReason), arguments: ["4K", "64K"])
        func `a mirror into a new image`(cluster: String) throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: Self.size, seed: 1)
            try Content.write(2, to: source, 0..<6 * miB)
            let image = scratch.path("image.qcow2")
            let command = ["full", source, image, "--create", "--cluster-size", cluster]
            try scratch.killed(command, removing: image) { replay in
                guard FileManager.default.fileExists(atPath: image) else { return }
                // Before its header is there it is no image yet, and after that a sound one.
                let head = try Content.read(image, 0..<4)
                guard head == Data([0x51, 0x46, 0x49, 0xfb]) else {
                    #expect(head.allSatisfy { $0 == 0 }, "\(replay)")
                    return
                }
                expectSound(image, leaksAllowed: true, replay)
            }
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
        }

        /// The killed mirror's image is mirrored into again, with all that it has by then.
        @Test(
            .enabled(if: Needs.strace, Needs.straceReason),
            arguments: [["cluster_size=65536"], ["cluster_size=512"], ["extended_l2=on"]])
        func `a mirror into an image with snapshots`(options: [String]) throws {
            let scratch = try Scratch()
            let size = 2 * miB
            let source = try scratch.patchwork("source.raw", size: size, seed: 1)
            let image = try QEMU.create(scratch.path("image.qcow2"), size: size, options: options)
            try QEMU.io(image, ["write -P 1 0 1M"])
            try QEMU.img("snapshot", "-c", "once", image)
            try QEMU.io(image, ["write -P 2 512K 1M"])
            let snapshot = scratch.path("snapshot.raw")
            let convert = [
                "convert", "-f", "qcow2", "-l", "snapshot.name=once", "-O", "raw", image, snapshot,
            ]
            try QEMU.img(convert)
            let content = try Content.fingerprint(snapshot)
            try scratch.killed(["full", source, image, "--overwrite"]) { replay in
                expectSound(image, leaksAllowed: true, replay)
                try QEMU.img(convert)
                #expect(try Content.fingerprint(snapshot) == content, "\(replay)")
            }
            expectSound(image, leaksAllowed: true)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
            try QEMU.img(convert)
            #expect(try Content.fingerprint(snapshot) == content)
        }

        /// Whoever reads the overlay sees the same, however far the job has come.
        @Test(
            .enabled(if: Needs.strace, Needs.straceReason), arguments: ["stream", "commit"],
            ["qcow2", "raw"])
        func `an overlay under a job`(command: String, format: String) throws {
            let scratch = try Scratch()
            let (base, overlay, merged) = try Self.pair(scratch, format)
            try scratch.killed([command, overlay]) { replay in
                expectSound(overlay, leaksAllowed: true, replay)
                if format == "qcow2" { expectSound(base, leaksAllowed: true, replay) }
                expectIdentical(merged, overlay, formats: ("raw", "qcow2"), replay)
            }
            expectSound(overlay, leaksAllowed: true)
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
            if command == "commit" {
                expectIdentical(merged, base, formats: ("raw", format))
            } else {
                #expect(try QEMU.info(overlay).text("backing-filename") == nil)
            }
        }

        private static func pair(_ scratch: Scratch, _ format: String) throws
            -> (base: String, overlay: String, merged: String)
        {
            let raw = try scratch.patchwork("raw", size: size, seed: 8)
            try Content.write(5, to: raw, 5 * miB..<9 * miB)
            let base = scratch.path("base.\(format)")
            try QEMU.img("convert", "-f", "raw", "-O", format, raw, base)
            let overlay = try QEMU.create(
                scratch.path("overlay.qcow2"), options: ["cluster_size=16384"],
                over: (base, format))
            try QEMU.io(
                overlay, ["write -P 3 100K 3M", "write -z -u 6M 1M", "write -P 4 8M 100K"])
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            return (base, overlay, merged)
        }

        /// The job is held while QEMU looks, and then killed, each time when the image has grown
        /// by as much as the dice say.
        @Test func `an overlay while it takes over what is below`() throws {
            let scratch = try Scratch()
            let size = 48 * miB
            let base = try scratch.image("base.raw", size: size, seed: 1)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "raw"))
            try QEMU.io(overlay, ["write -P 3 100K 1M", "write -z -u 9M 1M"])
            let merged = try QEMU.flatten(overlay, to: scratch.path("merged"))
            var generator = RandomTest.generator(defaultSeed: 0x8a00)
            for _ in 0..<5 {
                let threshold =
                    try Content.allocated(overlay)
                    + Int64.random(in: 0..<10 * miB, using: &generator)
                let child = try scratch.start(["stream", overlay])
                _ = child.wait(until: { _ in
                    (try? Content.allocated(overlay) > threshold) == true
                })
                if child.isRunning { child.send(SIGSTOP) }
                expectIdentical(
                    merged, overlay, formats: ("raw", "qcow2"), shared: true, generator.replay)
                child.kill(group: SIGKILL)
                _ = try child.wait()
                expectSound(overlay, leaksAllowed: true, generator.replay)
                expectIdentical(merged, overlay, formats: ("raw", "qcow2"), generator.replay)
            }
            try scratch.succeed("stream", overlay)
            expectSound(overlay, leaksAllowed: true)
            expectIdentical(merged, overlay, formats: ("raw", "qcow2"))
            #expect(try QEMU.info(overlay).text("backing-filename") == nil)
        }

        /// Where QEMU may count later, we count at once.
        @Test(.enabled(if: Needs.strace, Needs.straceReason))
        func `an image with lazy refcounts`() throws {
            let scratch = try Scratch()
            let source = try scratch.patchwork("source.raw", size: 2 * miB, seed: 1)
            let image = try QEMU.create(
                scratch.path("image.qcow2"), size: 2 * miB,
                options: ["lazy_refcounts=on", "cluster_size=4096"])
            try QEMU.io(image, ["write -P 1 0 1M"])
            try scratch.killed(["full", source, image, "--overwrite"]) { replay in
                expectSound(image, leaksAllowed: true, replay)
                let info = try QEMU.info(image)
                #expect(info.flag("dirty-flag") == false, "\(replay)")
            }
            expectIdentical(source, image, formats: ("raw", "qcow2"))
        }

        /// An interrupted job says so, leaves what is sound, and what it began can be done.
        @Test func `jobs that are interrupted`() throws {
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: Self.size, seed: 1)
            let image = scratch.path("image.qcow2")
            let child = try scratch.start(["full", source, image, "--create", "--speed", "6M"])
            #expect(
                child.wait(until: { _ in
                    (try? Content.allocated(image) > 2 * miB) == true
                }))
            child.send(SIGINT)
            let end = try child.wait(seconds: 10)
            #expect(end.code == Code.interrupted, "\(end)")
            expectSound(image)
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image, formats: ("raw", "qcow2"))
        }
    }
}
