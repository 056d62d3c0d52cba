import Foundation
import TestSupport
import Testing

extension Integration {
    /// New overlays that an increment is made into: what a bitmap knows of the disk below, it knows
    /// of the overlay.
    @Suite(.enabled(if: Shell.has("qemu-io"))) struct OverlayBases {
        private static let size = 16 * miB
        /// Where a sample hardly ever looks.
        private static let place = 13 * miB + 5120..<13 * miB + 5632
        private static let create = [
            "--create", "--backing", "sunday.qcow2", "--backing-format", "qcow2", "--json",
        ]

        /// A source whose bitmap knows a base, and perhaps another target.
        private func mirrored(
            _ scratch: Scratch, _ targets: [String]
        ) throws -> (source: String, targets: [String], overlay: [String]) {
            let source = try scratch.image("source", size: Self.size, seed: 1)
            try scratch.bitmap("add", source, "n")
            for target in targets {
                try scratch.mirror(source, scratch.path(target), "--create", "--bitmap", "n")
            }
            let overlay =
                ["incremental", source, scratch.path("monday.qcow2"), "--bitmap", "n"]
                + Self.create
            return (source, targets.map { scratch.path($0) }, overlay)
        }

        private func write(_ scratch: Scratch, _ source: String, _ seed: UInt64) throws {
            try Content.write(seed, to: source, Self.place)
            try scratch.bitmap("mark", source, "n", "13M+64K")
        }

        @Test func `an overlay has what its base lacks`() throws {
            let scratch = try Scratch()
            let (source, targets, overlay) = try mirrored(scratch, ["sunday.qcow2", "other"])
            // So much that a sample would see it.
            try Content.write(2, to: source, 4 * miB..<12 * miB)
            try scratch.bitmap("mark", source, "n", "4M+8M")
            // This takes the marks.
            _ = try scratch.increment(source, targets[1], "--bitmap", "n")
            let dry = try scratch.run(overlay + ["--dry-run"])
            #expect(dry.code == Code.done, "\(dry)")
            #expect(dry.events.last?.number("planned") == 8 * miB, "\(dry)")
            let end = try scratch.run(overlay)
            #expect(end.code == Code.done, "\(end)")
            let report = try end.report()
            #expect(report.number("planned") == 8 * miB, "\(end)")
            let codes = report.list("evidence").compactMap { $0.text("code") }
            #expect(codes.contains("targetStandsOn"), "\(end)")
            #expect(!codes.contains("targetVouched") && !codes.contains("notProven"), "\(end)")
            expectIdentical(
                source, scratch.path("monday.qcow2"), formats: ("raw", "qcow2"))
            // It is a target of its own from then on.
            try write(scratch, source, 3)
            let next = try scratch.increment(source, scratch.path("monday.qcow2"), "--bitmap", "n")
            #expect(next.number("planned") == 65536, "\(next)")
            expectIdentical(
                source, scratch.path("monday.qcow2"), formats: ("raw", "qcow2"))
        }

        /// The job fails, and no later one takes the base for what it was.
        @Test(arguments: [false, true])
        func `a base that is written in mid-job is seen by every later job`(
            isInterrupted: Bool
        ) throws {
            let scratch = try Scratch()
            let (source, targets, overlay) = try mirrored(scratch, ["sunday.qcow2"])
            #expect(try scratch.run(overlay).code == Code.done)
            try Content.write(2, to: source, 4 * miB..<8 * miB)
            try scratch.bitmap("mark", source, "n", "4M+4M")
            let command = [
                "incremental", source, scratch.path("monday.qcow2"), "--bitmap", "n", "--json",
            ]
            let child = try scratch.start(
                command + ["--progress", "--speed", "2M", "--request-size", "64K"])
            #expect(child.waitForProgress())
            // Past QEMU's locks, as `dd` does.
            try Content.write(7, to: targets[0], 13 * miB..<13 * miB + 4 * kiB)
            if isInterrupted { child.send(SIGTERM) }
            let end = try child.wait()
            #expect(end.code == (isInterrupted ? Code.interrupted : Code.failed), "\(end)")
            let later = try scratch.run(command)
            #expect(later.code == Code.refused, "\(later)")
            guard isInterrupted else { return }
            let resumed = try scratch.run(command + ["--resume"])
            #expect(resumed.code == Code.refused, "\(resumed)")
        }

        @Test func `times of a base that are set in mid-job leave a doubt`() throws {
            let scratch = try Scratch()
            let (source, targets, overlay) = try mirrored(scratch, ["sunday.qcow2"])
            #expect(try scratch.run(overlay).code == Code.done)
            try Content.write(2, to: source, 4 * miB..<8 * miB)
            try scratch.bitmap("mark", source, "n", "4M+4M")
            let child = try scratch.start([
                "incremental", source, scratch.path("monday.qcow2"), "--bitmap", "n", "--json",
                "--progress", "--speed", "2M", "--request-size", "64K",
            ])
            #expect(child.waitForProgress())
            try Shell.run("chmod", "640", targets[0])
            let end = try child.wait()
            #expect(end.code == Code.done && end.output.contains("targetBaseTouched"), "\(end)")
            let list = try scratch.succeed("bitmap", "list", source).output
            #expect(list.contains("not proven"), "\(list)")
        }

        @Test func `a base that something else has written serves none`() throws {
            let scratch = try Scratch()
            let (_, targets, overlay) = try mirrored(scratch, ["sunday.qcow2"])
            usleep(20_000)
            try QEMU.io(targets[0], ["write -P 7 5M 4k"])
            for words in [overlay + ["--dry-run"], overlay] {
                let end = try scratch.run(words)
                #expect(end.code == Code.refused, "\(end)")
                #expect(end.events.last?.text("code") == "foreignWrites", "\(end)")
            }
            #expect(!FileManager.default.fileExists(atPath: scratch.path("monday.qcow2")))
        }

        @Test func `a base that the bitmap does not know serves none`() throws {
            let scratch = try Scratch()
            let (source, _, overlay) = try mirrored(scratch, ["other"])
            try scratch.mirror(source, scratch.path("sunday.qcow2"), "--create")
            try write(scratch, source, 2)
            for words in [overlay + ["--dry-run"], overlay] {
                let end = try scratch.run(words)
                #expect(end.code == Code.refused, "\(end)")
                #expect(end.events.last?.text("code") == "otherTarget", "\(end)")
            }
            #expect(!FileManager.default.fileExists(atPath: scratch.path("monday.qcow2")))
            let vouched = try scratch.run(overlay + ["--new-target"])
            #expect(vouched.code == Code.done, "\(vouched)")
            expectIdentical(
                source, scratch.path("monday.qcow2"), formats: ("raw", "qcow2"))
        }

        @Test func `a refusal names the targets that the bitmap knows`() throws {
            let scratch = try Scratch()
            let (source, targets, _) = try mirrored(scratch, ["a", "b", "c", "d"])
            try scratch.mirror(source, scratch.path("e"), "--create")
            let end = try scratch.run("incremental", source, scratch.path("e"), "--bitmap", "n")
            #expect(end.code == Code.refused, "\(end)")
            let names = targets.dropFirst().joined(separator: ", ")
            #expect(end.errors.contains("what \(names) and 1 more lack, and"), "\(end)")
            let same = try scratch.run("bitmap", "diff", source, source, "--into", "n")
            #expect(same.code == Code.refused, "\(same)")
        }

        @Test func `an overlay of the source itself is no copy`() throws {
            let scratch = try Scratch()
            let source = scratch.path("source.qcow2")
            try QEMU.img("create", "-q", "-f", "qcow2", source, "\(Self.size)")
            try scratch.bitmap("add", source, "n")
            let end = try scratch.run(
                "incremental", source, scratch.path("o.qcow2"), "--bitmap", "n", "--create",
                "--backing", "source.qcow2", "--backing-format", "qcow2")
            #expect(end.code == Code.refused, "\(end)")
            #expect(!FileManager.default.fileExists(atPath: scratch.path("o.qcow2")))
        }

        @Test func `what is in doubt of a base is in doubt of the overlay`() throws {
            let scratch = try Scratch()
            let (source, targets, overlay) = try mirrored(scratch, ["other"])
            try scratch.mirror(source, scratch.path("sunday.qcow2"), "--create")
            try write(scratch, source, 2)
            _ = try scratch.increment(
                source, scratch.path("sunday.qcow2"), "--bitmap", "n", "--new-target")
            try write(scratch, source, 3)
            let end = try scratch.run(overlay)
            #expect(end.code == Code.done, "\(end)")
            let doubts = try end.report().list("evidence").filter { $0.text("code") == "notProven" }
            #expect(doubts.count == 1, "\(end)")
            // Also later, of the overlay itself.
            try write(scratch, source, 4)
            let next = try scratch.increment(source, scratch.path("monday.qcow2"), "--bitmap", "n")
            let left = next.list("evidence").filter { $0.text("code") == "notProven" }
            #expect(left.count == 1, "\(next) \(targets)")
        }
    }
}
