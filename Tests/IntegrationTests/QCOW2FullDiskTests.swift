import Foundation
import TestSupport
import Testing

extension Integration {
    @Suite(
        .serialized, .enabled(if: Needs.loops && QEMU.isThere, Needs.loopsReason),
        .timeLimit(.minutes(20)))
    struct QCOW2OnFullDisks {
        /// Where less fits than any of these tests wants to write.
        private static func smallDisk(_ type: String, in scratch: Scratch) throws -> String {
            guard type != "tmpfs" else {
                return try scratch.mount("tmpfs", type: "tmpfs", options: "size=8m")
            }
            let disk = try scratch.loop(size: 16 * miB)
            try Shell.run("mkfs.ext4", "-q", "-F", "-m", "0", disk.path)
            return try scratch.mount(disk.path)
        }

        /// The disk under an image is full: that is said, and the image is still an image.
        @Test(arguments: ["tmpfs", "ext4"], [true, false])
        func `a full disk under the target`(type: String, isNew: Bool) throws {
            guard type == "tmpfs" || Shell.has("mkfs.ext4") else { return }
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: 24 * miB, seed: 1)
            let point = try Self.smallDisk(type, in: scratch)
            let image = point + "/image.qcow2"
            if !isNew {
                try QEMU.create(image, size: 24 * miB)
                try QEMU.io(image, ["write -P 1 0 1M"])
            }
            let end = try scratch.run(
                "full", source, image, isNew ? "--create" : "--overwrite")
            #expect(end.code == Code.failed, "\(end)")
            #expect(end.errors.lowercased().contains("space"), "\(end)")
            #expect(end.errors.contains(image), "\(end)")
            #expect(end.errors.contains("NOT a mirror"), "\(end)")
            expectSound(image, leaksAllowed: true)
        }

        /// What was taken for writes that failed is given back at the end.
        @Test(arguments: ["tmpfs", "ext4"], [true, false])
        func `a full disk that is ignored`(type: String, isNew: Bool) throws {
            guard type == "tmpfs" || Shell.has("mkfs.ext4") else { return }
            let scratch = try Scratch()
            let source = try scratch.image("source.raw", size: 24 * miB, seed: 1)
            let point = try Self.smallDisk(type, in: scratch)
            let image = point + "/image.qcow2"
            if !isNew { try QEMU.create(image, size: 24 * miB) }
            let end = try scratch.run(
                "full", source, image, isNew ? "--create" : "--overwrite", "--on-target-error",
                "ignore", "--request-size", "256K")
            #expect(end.code == Code.failed, "\(end)")
            expectSound(image, "\(end)")
        }
    }
}
