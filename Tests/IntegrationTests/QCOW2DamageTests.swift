import Foundation
import TestSupport
import Testing

extension Processes {
    /// Images that are read well and that a writer would ruin: found before the first byte is
    /// written, by every command that writes them.
    @Suite(
        .serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct QCOW2Damage {
        static let size = 4 * miB

        /// A number of the file, which is big endian.
        private static func number(_ path: String, at offset: Int64, bytes: Int64) throws -> Int64 {
            try Content.read(path, offset..<offset + bytes).reduce(0) { $0 << 8 | Int64($1) }
        }

        private static func patch(_ path: String, at offset: Int64, _ bytes: [UInt8]) throws {
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try file.seek(toOffset: UInt64(offset))
            try file.write(contentsOf: Data(bytes))
            try file.close()
        }

        /// Where the directory of an image's bitmaps is.
        private static func bitmaps(_ path: String) throws -> Int64 {
            var part = try number(path, at: 100, bytes: 4)
            while try number(path, at: part, bytes: 4) != 0x2385_2875 {
                part += 8 + (try number(path, at: part + 4, bytes: 4) + 7) / 8 * 8
            }
            return try number(path, at: part + 24, bytes: 8)
        }

        /// Every command that would write `image`, or clusters of it, is refused for this reason.
        private func expectUnwritten(
            _ image: String, in scratch: Scratch, source: String, overlay: String,
            naming words: [String], sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let raw = try scratch.image("raw", size: Self.size, seed: 1)
            try scratch.bitmap("add", raw, "n")
            try scratch.bitmap("mark", raw, "n", "0+64K")
            for command in [
                ["full", source, image, "--overwrite"],
                ["full", raw, image, "--overwrite", "--dry-run"],
                ["incremental", raw, image, "--bitmap", "n", "--new-target"],
                ["commit", overlay],
            ] {
                try scratch.expectTurnedDown(
                    command, naming: [image] + words, untouched: [image, overlay, raw],
                    sourceLocation: sourceLocation)
            }
            #expect(try scratch.dirtyBytes(raw, "n") == 64 * kiB, sourceLocation: sourceLocation)
        }

        /// Such a cluster would be written in place, and be handed out again as a free one.
        @Test func `data that is counted as free`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: Self.size)
            try QEMU.io(image, ["write -P 1 0 64K"])
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (image, "qcow2"))
            try QEMU.io(overlay, ["write -P 2 0 64K"])
            let source = try QEMU.create(scratch.path("source.qcow2"), size: Self.size)
            try QEMU.io(source, ["write -P 0x61 0 64K", "write -P 0x62 1M 1M"])
            // The only data cluster is the last; its count, of two bytes, is in the first block.
            let cluster = 64 * kiB
            let table = try Self.number(image, at: 48, bytes: 8)
            let block = try Self.number(image, at: table, bytes: 8)
            let last = try Content.size(image) / cluster - 1
            #expect(try Self.number(image, at: block + 2 * last, bytes: 2) == 1)
            try Self.patch(image, at: block + 2 * last, [0, 0])
            let verdict = #expect(throws: Shell.Failure.self) { try QEMU.img("check", image) }
            #expect(verdict?.output.contains("refcount=0 reference=1") == true, "\(verdict as Any)")
            try expectUnwritten(
                image, in: scratch, source: source, overlay: overlay,
                naming: ["counted as free", "qemu-img check -r all \(image)"])
            // The advice helps.
            try QEMU.img("check", "-q", "-r", "all", image)
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image)
            expectIdentical(source, image)
        }

        /// As a commit leaves it that is killed: the next one says that it is lost.
        @Test func `a bitmap of the base that is in use already`() throws {
            let scratch = try Scratch()
            let base = try QEMU.create(scratch.path("base.qcow2"), size: Self.size)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (base, "qcow2"))
            try QEMU.io(overlay, ["write -P 2 0 64K"])
            try QEMU.img("bitmap", "--add", base, "b")
            try Self.patch(base, at: try Self.bitmaps(base) + 12, [0, 0, 0, 3])
            for arguments in [["--dry-run"], []] {
                let end = try scratch.succeed(["commit", overlay] + arguments)
                #expect(end.errors.contains("bitmap 'b' is inconsistent"), "\(end)")
            }
            #expect(try QEMU.bitmaps(base)["b"]?.isInUse == true)
        }

        /// The bitmap has to be marked for what is written, and can't be.
        @Test func `a bitmap whose table is broken`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: Self.size)
            let overlay = try QEMU.create(scratch.path("overlay.qcow2"), over: (image, "qcow2"))
            try QEMU.io(overlay, ["write -P 2 0 64K"])
            let source = try QEMU.create(scratch.path("source.qcow2"), size: Self.size)
            try QEMU.io(source, ["write -P 3 0 4M"])
            try QEMU.img("bitmap", "--add", image, "b")
            let table = try Self.number(image, at: try Self.bitmaps(image), bytes: 8)
            try Self.patch(image, at: table, [0x20, 0, 0, 0, 0, 0, 0, 0])
            #expect(throws: Shell.Failure.self) { try QEMU.io(image, ["write -P 1 0 512"]) }
            try expectUnwritten(
                image, in: scratch, source: source, overlay: overlay,
                naming: ["bitmap 'b' is broken"])
            // The advice helps.
            try scratch.bitmap("remove", image, "b")
            try scratch.succeed("full", source, image, "--overwrite")
            expectSound(image, leaksAllowed: true)
            expectIdentical(source, image)
        }
    }
}
