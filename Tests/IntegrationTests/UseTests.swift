import Foundation
import TestSupport
import Testing

extension Integration {
    /// Sources that something else has open and may write: no more is said than the files show.
    @Suite struct Uses {
        private static let size = 16 * miB

        private func codes(_ end: Child.End) throws -> [String] {
            try end.report().list("evidence").compactMap { $0.text("code") }
        }

        /// QEMU keeps tables to itself until it flushes: neither times nor content show a write
        /// that was marked.
        @Test(.enabled(if: Shell.has("qemu-io", "qemu-img")))
        func `an image that a virtual machine writes keeps its marks`() throws {
            let scratch = try Scratch()
            let source = scratch.path("source.qcow2")
            try QEMU.img("create", "-q", "-f", "qcow2", source, "\(Self.size)")
            let store = scratch.path("store")
            let bitmap = ["--bitmap", "n", "--bitmaps", store, "--json"]
            try scratch.bitmap("add", source, "n", "--bitmaps", store)
            let machine = try Child(
                [
                    "sh", "-c", "{ echo 'write -P 7 1M 64k'; exec sleep 100; } | qemu-io \"$0\"",
                    source,
                ], in: scratch)
            #expect(machine.wait(until: { $0.output.contains("wrote") }))
            try scratch.bitmap("mark", source, "n", "1M+64K", "--bitmaps", store)
            let full = try scratch.run(
                ["full", source, scratch.path("target"), "--create", "--allow-source-in-use"]
                    + bitmap)
            #expect(full.code == Code.done, "\(full)")
            #expect(try full.report().text("claim") == "mirrorByEvidence", "\(full)")
            #expect(try codes(full).contains("sourceUnknown"), "\(full)")
            #expect(full.errors.contains("bitmap 'n' stays as it is"), "\(full)")
            let compared = try scratch.run("compare", source, scratch.path("target"), "-q")
            #expect(compared.errors.contains("is in use"), "\(compared)")
            let diff = try scratch.run(
                "bitmap", "diff", source, scratch.path("target"), "--into", "n", "--bitmaps", store)
            #expect(diff.code == Code.done, "\(diff)")
            machine.kill(group: SIGTERM)
            _ = try? machine.wait()
            let next = try scratch.run(
                ["incremental", source, scratch.path("target")] + bitmap)
            #expect(next.code == Code.done, "\(next)")
            #expect(try next.report().number("planned") == 65536, "\(next)")
            #expect(try codes(next).contains("notProven"), "\(next)")
        }

        /// A page of a file in memory that is mapped for writing never asks the kernel again.
        @Test(.enabled(if: geteuid() == 0))
        func `a file in memory that is mapped shows nothing`() throws {
            let scratch = try Scratch()
            let folder = try scratch.mount("memory", type: "tmpfs")
            let source = folder + "/source"
            try Content.write(1, to: source, 0..<Self.size)
            let other = try Child(
                ["sh", "-c", "exec 9<>\"$0\"; echo open; exec sleep 100", source], in: scratch)
            #expect(other.wait(until: { $0.output.contains("open") }))
            let full = try scratch.run(
                "full", source, scratch.path("target"), "--create", "--allow-source-in-use",
                "--json")
            #expect(full.code == Code.done, "\(full)")
            #expect(try full.report().text("claim") == "mirrorByEvidence", "\(full)")
            #expect(try codes(full).contains("sourceUnknown"), "\(full)")
            other.kill(group: SIGKILL)
        }

        /// A read-only snapshot has the same inode as the file that it is of.
        @Test(.enabled(if: TestFilesystem.btrfs.isAvailable))
        func `a state of the source from before the last look is not marked`() throws {
            let scratch = try Scratch()
            let root = try TestFilesystem.btrfs.mount(in: scratch)
            let (live, target) = (root + "/live", scratch.path("target"))
            try Shell.run("btrfs", "subvolume", "create", live)
            try Content.write(1, to: live + "/disk", 0..<Self.size)
            let store = scratch.path("store")
            let bitmap = ["--bitmap", "n", "--bitmaps", store, "--json"]
            try scratch.bitmap("add", live + "/disk", "n", "--bitmaps", store)
            let full = try scratch.run(["full", live + "/disk", target, "--create"] + bitmap)
            #expect(full.code == Code.done, "\(full)")
            func snapshot(_ name: String) throws -> String {
                usleep(20_000)
                try Shell.run("btrfs", "subvolume", "snapshot", "-r", live, root + "/" + name)
                return root + "/" + name + "/disk"
            }
            func write(_ seed: UInt64, at offset: Int64) throws {
                usleep(20_000)
                try Content.write(seed, to: live + "/disk", offset..<offset + 4096)
                try scratch.bitmap(
                    "mark", live + "/disk", "n", "\(offset)+4096", "--bitmaps", store)
            }
            let first = try snapshot("first")
            try write(2, at: 5 * miB)
            let second = try scratch.run(["incremental", try snapshot("second"), target] + bitmap)
            #expect(second.code == Code.done, "\(second)")
            try write(3, at: 9 * miB)
            let back = try scratch.run(["incremental", first, target] + bitmap)
            #expect(back.code == Code.refused, "\(back)")
            let code = back.events.last?.text("code")
            #expect(["unmarkedWrites", "otherContent"].contains(code), "\(back)")
            #expect(code == "otherContent" || back.output.contains("no mark tells"), "\(back)")
            let next = try scratch.run(["incremental", try snapshot("third"), target] + bitmap)
            #expect(next.code == Code.done, "\(next)")
            expectSame(live + "/disk", target)
        }
    }
}
