import Foundation
import TestSupport
import Testing

extension Processes {
    /// Bitmaps inside an image, and the store beside it that knows their targets.
    @Suite(.serialized, .enabled(if: QEMU.isThere, QEMU.reason), .timeLimit(.minutes(20)))
    struct ImageBitmaps {
        static let size = 8 * miB

        /// An image with a bitmap in it, mirrored to two targets.
        private func mirrored(
            _ scratch: Scratch
        ) throws -> (image: String, first: String, second: String) {
            let raw = try scratch.image("raw", size: Self.size, seed: 1)
            let image = scratch.path("image.qcow2")
            try QEMU.img("convert", "-f", "raw", "-O", "qcow2", raw, image)
            try scratch.bitmap("add", image, "n")
            let (first, second) = (scratch.path("first"), scratch.path("second"))
            for target in [first, second] {
                try scratch.mirror(image, target, "--create", "--bitmap", "n")
            }
            return (image, first, second)
        }

        private func targets(_ image: String, _ scratch: Scratch) throws -> [String: Int64] {
            let bitmap = try scratch.bitmap("show", image, "n", "--json").report()
            return Dictionary(
                uniqueKeysWithValues: bitmap.list("targets").map {
                    ($0.text("path") ?? "?", $0.number("lackedBytes") ?? -1)
                })
        }

        @Test func `its targets are told, and one can be forgotten`() throws {
            let scratch = try Scratch()
            let (image, first, second) = try mirrored(scratch)
            #expect(try targets(image, scratch) == [first: 0, second: 0])
            try scratch.bitmap("mark", image, "n", "1M+64K")
            try scratch.increment(image, first, "--bitmap", "n")
            #expect(try targets(image, scratch) == [first: 0, second: 64 * kiB])
            let list = try scratch.bitmap("list", image)
            #expect(list.output.contains("target of 'n': \(second)"), "\(list)")
            #expect(!list.output.contains("none yet"), "\(list)")
            try scratch.bitmap("forget", image, "n", "--target", second)
            #expect(try targets(image, scratch) == [first: 0])
            let end = try scratch.run("incremental", image, second, "--bitmap", "n", "--json")
            #expect(end.code == Code.refused, "\(end)")
            #expect(try end.report().text("code") == "otherTarget", "\(end)")
            // What is cleared by its user, the target lacks.
            try scratch.bitmap("mark", image, "n", "2M+64K")
            try scratch.bitmap("clear", image, "n")
            #expect(try targets(image, scratch) == [first: 64 * kiB])
        }

        @Test func `one that something else has cleared is no base any more`() throws {
            let scratch = try Scratch()
            let (image, first, second) = try mirrored(scratch)
            try QEMU.io(image, ["write -P 7 3M 64K"])
            try scratch.increment(image, first, "--bitmap", "n", "--bitmap-mode", "never")
            try QEMU.img("bitmap", "--clear", image, "n")
            for _ in 0..<2 {
                for target in [first, second] {
                    let end = try scratch.run(
                        "incremental", image, target, "--bitmap", "n", "--json", "-q")
                    #expect(end.code == Code.refused, "\(end)")
                    #expect(try end.report().text("code") == "bitmapRemade", "\(end)")
                }
            }
            // A full mirror begins anew, and tells of which targets nothing is known any more.
            let end = try scratch.run(
                "full", image, first, "--overwrite", "--bitmap", "n", "--json")
            #expect(end.code == Code.done, "\(end)")
            let notes = end.events.filter { $0.kind == "warning" }.compactMap { $0.text("message") }
            #expect(notes.contains { $0.contains(second) && $0.contains("cleared") }, "\(end)")
            #expect(try targets(image, scratch) == [first: 0])
        }

        @Test func `a bitmap that was removed and added anew knows no target`() throws {
            let scratch = try Scratch()
            let (image, first, _) = try mirrored(scratch)
            try QEMU.img("bitmap", "--remove", image, "n")
            try scratch.bitmap("add", image, "n")
            #expect(try targets(image, scratch) == [:])
            try scratch.mirror(image, first, "--overwrite", "--bitmap", "n")
            try scratch.bitmap("remove", image, "n")
            try scratch.bitmap("add", image, "n")
            #expect(try targets(image, scratch) == [:])
        }

        @Test func `a name that means two bitmaps is refused by every command`() throws {
            let scratch = try Scratch()
            let image = try QEMU.create(scratch.path("image.qcow2"), size: Self.size)
            let target = try scratch.file("target", size: Self.size)
            let map = scratch.path("map")
            try "0 65536\n".write(toFile: map, atomically: true, encoding: .utf8)
            let store = image + ".bitmaps"
            for name in ["n", "m"] { try scratch.bitmap("add", image, name, "--bitmaps", store) }
            let taken = try scratch.run("bitmap", "add", image, "n", "--json")
            #expect(taken.code == Code.usage, "\(taken)")
            #expect(try taken.report().text("code") == "nameTaken", "\(taken)")
            try QEMU.img("bitmap", "--add", image, "n")
            let commands = [
                ["bitmap", "show", image, "n"], ["bitmap", "mark", image, "n", "0+1"],
                ["bitmap", "clear", image, "n"], ["bitmap", "disable", image, "n"],
                ["bitmap", "remove", image, "n"], ["bitmap", "export", image, "n"],
                ["bitmap", "merge", image, "n", "m"], ["bitmap", "merge", image, "m", "n"],
                ["bitmap", "diff", image, target, "--into", "n"],
                ["bitmap", "import", image, "n", map + ":ranges", "--create"],
                ["bitmap", "forget", image, "n", "--target", target],
                ["full", image, target, "--bitmap", "n", "--overwrite"],
                ["incremental", image, target, "--bitmap", "n"],
                ["measure", image, "--mode", "incremental", "--bitmap", "n"],
            ]
            for command in commands {
                let end = try scratch.run(command + ["--json"])
                #expect(end.code == Code.usage, "\(command): \(end)")
                #expect(try end.report().text("code") == "ambiguousBitmap", "\(command): \(end)")
                #expect(end.errors.contains(store), "\(command): \(end)")
            }
            // The two ways on.
            try scratch.bitmap("mark", image, "n", "0+1", "--bitmaps", store)
            try scratch.bitmap("remove", image, "n", "--bitmaps", store)
            #expect(try scratch.dirtyBytes(image, "n") == 0)
            // What is only in the store has its own name still.
            try scratch.bitmap("mark", image, "m", "0+1")
            #expect(try scratch.dirtyBytes(image, "m") == 64 * kiB)
        }
    }
}
