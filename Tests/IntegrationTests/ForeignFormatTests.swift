import Foundation
import TestSupport
import Testing

extension Processes {
    /// Files that are containers of other formats: never copied as if they were disks.
    @Suite(.serialized, .timeLimit(.minutes(20)))
    struct ForeignFormats {
        static let size = miB

        /// No command takes it for a disk; who says that it is raw gets its bytes.
        private func expectNamed(
            _ container: String, as name: String, in scratch: Scratch,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let new = scratch.path("new")
            let old = try scratch.image("old", size: 4 * Self.size, seed: 7)
            for command in [
                ["full", container, new, "--create"],
                ["full", container, new, "--create", "--target-format", "qcow2"],
                ["full", container, old, "--overwrite", "--allow-larger"],
                ["full", container, new, "--create", "--dry-run"],
                ["bitmap", "add", container, "n"], ["measure", container],
            ] {
                try scratch.expectTurnedDown(
                    command, naming: [container, name, "-format raw"], untouched: [container, old],
                    sourceLocation: sourceLocation)
            }
            for made in [new, container + ".bitmaps"] {
                #expect(
                    !FileManager.default.fileExists(atPath: made), sourceLocation: sourceLocation)
            }
            let info = try scratch.run("info", container)
            #expect(
                info.code == Code.done && (info.output + info.errors).contains(name), "\(info)",
                sourceLocation: sourceLocation)
            try scratch.mirror(
                container, new, "--create", "--source-format", "raw",
                sourceLocation: sourceLocation)
            expectSame(container, new, sourceLocation: sourceLocation)
        }

        static let images = [
            "vmdk": "VMDK", "vdi": "VDI", "vhdx": "VHDX", "vpc": "VHD", "qed": "QED",
            "qcow": "qcow image of version 1", "parallels": "Parallels",
        ]

        @Test(.enabled(if: QEMU.isThere, QEMU.reason), arguments: images.keys.sorted())
        func `images of other programs`(format: String) throws {
            let scratch = try Scratch()
            let raw = try scratch.image("raw", size: Self.size, seed: 1)
            let container = scratch.path("container.\(format)")
            try QEMU.img("convert", "-f", "raw", "-O", format, raw, container)
            try expectNamed(container, as: try #require(Self.images[format]), in: scratch)
        }

        @Test(.enabled(if: Shell.has("gzip", "xz")), arguments: ["gzip", "xz"])
        func `compressed disks`(program: String) throws {
            let scratch = try Scratch()
            let raw = try scratch.image("raw", size: Self.size, seed: 1)
            let container = scratch.path("container")
            try Shell.run("sh", "-c", "\(program) -c \(raw) > \(container)")
            try expectNamed(container, as: "compressed by \(program)", in: scratch)
        }
    }
}
