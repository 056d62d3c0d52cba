import Foundation
import Glibc
import TestSupport
import Testing

extension Processes {
    /// Commands on bitmaps that are killed at any call that changes a file: a bitmap is as it was
    /// before the command or as it is after it.
    @Suite(
        .serialized, .enabled(if: Needs.strace, Needs.straceReason), .timeLimit(.minutes(20)))
    struct BitmapCrashes {
        static let size = 2 * miB

        /// How a bitmap comes to be there with marks in it.
        enum Making: String, CaseIterable, CustomTestStringConvertible {
            case diff, importing

            var testDescription: String { rawValue }

            func command(_ source: String, _ scratch: Scratch) throws -> [String] {
                switch self {
                case .diff: return ["bitmap", "diff", source, scratch.path("other"), "--into", "n"]
                case .importing:
                    let map = scratch.path("map")
                    try "262144 524288\n".write(toFile: map, atomically: true, encoding: .utf8)
                    return [
                        "bitmap", "import", source, "n", map + ":ranges", "--create",
                        "--granularity", "64K",
                    ]
                }
            }
        }

        private func source(_ format: String, _ scratch: Scratch) throws -> String {
            let other = try scratch.image("other", size: Self.size, seed: 1)
            let changed = scratch.path("changed")
            try FileManager.default.copyItem(atPath: other, toPath: changed)
            try Content.write(2, to: changed, 256 * kiB..<768 * kiB)
            guard format == "qcow2" else { return changed }
            let image = scratch.path("image.qcow2")
            try QEMU.img("convert", "-f", "raw", "-O", "qcow2", changed, image)
            return image
        }

        @Test(arguments: Making.allCases, QEMU.isThere ? ["raw", "qcow2"] : ["raw"])
        func `a new bitmap has its marks from the first moment`(
            making: Making, format: String
        ) throws {
            let scratch = try Scratch()
            let source = try source(format, scratch)
            let command = try making.command(source, scratch)
            var found: Set<Bool> = []
            try scratch.killed(command, at: Killing.files, everyCall: true) { replay in
                let end = try scratch.run("bitmap", "list", source, "--json")
                #expect(end.code == Code.done, "\(end) \(replay)")
                let bitmaps = end.events.filter { $0.kind == "bitmap" }
                #expect(bitmaps.allSatisfy { $0.number("dirtyBytes") == 512 * kiB }, "\(replay)")
                found.insert(bitmaps.isEmpty)
                if format == "qcow2" { expectSound(source, leaksAllowed: true, replay) }
                if !bitmaps.isEmpty { try scratch.bitmap("remove", source, "n") }
            }
            #expect(found.contains(true), "it was never killed before the bitmap was there")
            #expect(try scratch.dirtyBytes(source, "n") == 512 * kiB)
        }
    }
}
