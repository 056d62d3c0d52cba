import Foundation
import TestSupport
import Testing

extension Integration {
    /// Disks that are compared while they are written.
    @Suite(.serialized, .enabled(if: LiveRig.isAvailable)) struct LiveComparisons {
        private static let size: Int64 = 48 << 20

        private struct Rig {
            let scratch: Scratch
            let source: String
            let target: String
            let store: String

            func run(_ arguments: String...) throws -> Child.End { try scratch.run(arguments) }

            func write(_ disk: String, at block: Int) throws {
                try Shell.run(
                    "dd", "if=/dev/urandom", "of=\(disk)", "bs=64k", "count=2", "seek=\(block)",
                    "oflag=direct", "conv=notrunc")
            }

            /// Writes the source again and again, from block 300 on.
            func beginWriting() throws -> Child {
                try Child(
                    [
                        "sh", "-c",
                        "while :; do dd if=/dev/urandom of=$0 bs=64k count=4 seek=300 "
                            + "oflag=direct conv=notrunc 2>/dev/null; done", source,
                    ], in: scratch)
            }
        }

        private func rig(isTracked: Bool) throws -> Rig {
            let scratch = try Scratch()
            let source = try scratch.loop(size: Self.size, directIO: true).path
            let target = try scratch.loop(size: Self.size, directIO: true).path
            let rig = Rig(
                scratch: scratch, source: source, target: target, store: scratch.path("store"))
            try rig.write(source, at: 5)
            guard isTracked else {
                try scratch.mirror(source, target)
                return rig
            }
            let start = try rig.run(
                "track", "start", source, "--bitmap", "n", "--bitmaps", rig.store)
            #expect(start.code == Code.done, "\(start)")
            let store = rig.store
            scratch.onCleanup {
                _ = try? $0.run("track", "stop", source, "--bitmaps", store)
            }
            try scratch.mirror(source, target, "--bitmap", "n", "--bitmaps", rig.store)
            return rig
        }

        @Test func `disks at rest are the same, or differ`() throws {
            let rig = try rig(isTracked: false)
            let same = try rig.run("compare", rig.source, rig.target, "--live")
            #expect(same.code == Code.done && same.output.contains("at one moment"), "\(same)")
            try rig.write(rig.target, at: 40)
            let other = try rig.run("compare", rig.source, rig.target, "--live", "--json")
            #expect(other.code == Code.different, "\(other)")
            #expect(other.output.contains("\"identical\":false"), "\(other)")
        }

        /// The kernel does not tell of it as a write to the loop device.
        @Test func `a write below a disk spoils the answer`() throws {
            let scratch = try Scratch()
            let source = try scratch.loop(size: Self.size, directIO: true).path
            let image = try scratch.image("image", size: Self.size, seed: 1)
            let target = try scratch.loop(over: image).path
            try scratch.mirror(source, target, "--overwrite")
            let writer = try Child(
                [
                    "sh", "-c",
                    "while :; do dd if=/dev/urandom of=$0 bs=4k count=1 conv=notrunc,fsync "
                        + "2>/dev/null; sleep 0.02; done", image,
                ], in: scratch)
            defer { writer.kill(group: SIGKILL) }
            let found = try scratch.run("compare", source, target, "--live")
            #expect([Code.failed, Code.different].contains(found.code), "\(found)")
        }

        /// What is written all the time is never the same as a target that stands still.
        @Test func `a disk that is written is not called the same`() throws {
            let rig = try rig(isTracked: false)
            let writer = try rig.beginWriting()
            defer { writer.kill(group: SIGKILL) }
            let found = try rig.run("compare", rig.source, rig.target, "--live")
            #expect([Code.different, Code.failed].contains(found.code), "\(found)")
        }

        @Test func `what a bitmap has marked need not be the same, and all else has to`() throws {
            let rig = try rig(isTracked: true)
            let options = ["--live", "--bitmap", "n", "--bitmaps", rig.store]
            try rig.write(rig.source, at: 100)
            let writer = try rig.beginWriting()
            defer { writer.kill(group: SIGKILL) }
            let right = try rig.scratch.run(["compare", rig.source, rig.target] + options)
            #expect(right.code == Code.done, "\(right)")
            #expect(right.output.contains("but for the"), "\(right)")
            try rig.write(rig.target, at: 200)
            let wrong = try rig.scratch.run(["compare", rig.source, rig.target] + options)
            #expect(wrong.code == Code.different, "\(wrong)")
        }

        @Test func `a bitmap that can't tell what the target lacks is refused`() throws {
            let rig = try rig(isTracked: true)
            let third = try rig.scratch.loop(size: Self.size, directIO: true).path
            let options = ["--live", "--bitmap", "n", "--bitmaps", rig.store]
            let unknown = try rig.scratch.run(["compare", rig.source, third] + options)
            #expect(unknown.code == Code.refused, "\(unknown)")
            _ = try rig.run("track", "stop", rig.source, "--bitmaps", rig.store)
            let ended = try rig.scratch.run(["compare", rig.source, rig.target] + options)
            #expect(ended.code == Code.refused, "\(ended)")
            let alone = try rig.run("compare", rig.source, rig.target, "--bitmap", "n")
            #expect(alone.code == Code.usage, "\(alone)")
        }

        /// The tracker has forgotten what the newer store had got from it.
        @Test func `a store that is put back from an older copy is not believed`() throws {
            let rig = try rig(isTracked: true)
            let copy = rig.store + ".old"
            try FileManager.default.copyItem(atPath: rig.store, toPath: copy)
            try rig.write(rig.source, at: 100)
            let next = try rig.run(
                "incremental", rig.source, rig.target, "--bitmap", "n", "--bitmaps", rig.store)
            #expect(next.code == Code.done, "\(next)")
            try Shell.run("cp", copy, rig.store)
            let old = try rig.run(
                "incremental", rig.source, rig.target, "--bitmap", "n", "--bitmaps", rig.store)
            #expect(old.code == Code.refused && old.errors.contains("inconsistent"), "\(old)")
        }
    }
}
