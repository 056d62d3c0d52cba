import Foundation
import TestSupport
import Testing

extension Integration {
    /// Sources that something else has open and may write: no more is said than the files show.
    @Suite struct Uses {
        fileprivate static let size = 16 * miB

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

        /// Snapshots of a disk whose every write is marked in a store elsewhere. A read-only one
        /// has the same inode as the file that it is of.
        private struct Snapshots {
            let scratch: Scratch
            private let root: String
            let live, target: String
            let store: String

            init() throws {
                scratch = try Scratch()
                root = try TestFilesystem.btrfs.mount(in: scratch)
                live = root + "/live/disk"
                target = scratch.path("target")
                store = scratch.path("store")
                try Shell.run("btrfs", "subvolume", "create", root + "/live")
                try Content.write(1, to: live, 0..<Uses.size)
                try scratch.bitmap("add", live, "n", "--bitmaps", store)
                try expectDone(mirror("full", live, "--create"))
            }

            func take(_ name: String) throws -> String {
                usleep(20_000)
                try Shell.run(
                    "btrfs", "subvolume", "snapshot", "-r", root + "/live", root + "/" + name)
                return root + "/" + name + "/disk"
            }

            func write(_ seed: UInt64, at offset: Int64) throws {
                usleep(20_000)
                try Content.write(seed, to: live, offset..<offset + 4096)
                try scratch.bitmap("mark", live, "n", "\(offset)+4096", "--bitmaps", store)
            }

            func mirror(_ mode: String, _ source: String, _ more: String...) throws -> Child.End {
                try scratch.run(
                    [mode, source, target, "--bitmap", "n", "--bitmaps", store, "--json"] + more)
            }

            func expectDone(_ end: Child.End) throws {
                #expect(end.code == Code.done, "\(end)")
            }
        }

        @Test(.enabled(if: TestFilesystem.btrfs.isAvailable))
        func `a state of the source from before the last mirror is no later one`() throws {
            let disk = try Snapshots()
            let first = try disk.take("first")
            try disk.write(2, at: 5 * miB)
            try disk.expectDone(disk.mirror("incremental", disk.take("second")))
            try disk.write(3, at: 9 * miB)
            let back = try disk.mirror("incremental", first)
            #expect(back.code == Code.refused, "\(back)")
            #expect(back.events.last?.text("code") == "olderThanMarks", "\(back)")
            try disk.expectDone(disk.mirror("incremental", disk.take("third")))
            expectSame(disk.live, disk.target)
        }

        @Test(.enabled(if: TestFilesystem.btrfs.isAvailable), arguments: ["full", "incremental"])
        func `a snapshot takes no marks of what was written after it`(mode: String) throws {
            let disk = try Snapshots()
            try disk.write(2, at: 5 * miB)
            let snapshot = try disk.take("snapshot")
            try disk.write(3, at: 9 * miB)
            for isTaken in [false, true] {
                let end = try disk.mirror(mode, snapshot, mode == "full" ? "--overwrite" : "-q")
                #expect(end.code == Code.refused, "\(isTaken) \(end)")
                #expect(end.events.last?.text("code") == "olderThanMarks", "\(isTaken) \(end)")
                let newer = try disk.take(isTaken ? "last" : "newer")
                try disk.expectDone(disk.mirror("incremental", newer))
                expectSame(newer, disk.target)
            }
        }

        /// What a snapshot has, bitmaps with newer marks can't tell.
        @Test(.enabled(if: TestFilesystem.btrfs.isAvailable))
        func `a target that a snapshot was mirrored to is unknown to newer marks`() throws {
            let disk = try Snapshots()
            let snapshot = try disk.take("snapshot")
            try disk.write(3, at: 9 * miB)
            try disk.expectDone(disk.mirror("incremental", disk.live))
            try disk.expectDone(
                disk.scratch.run([
                    "full", snapshot, disk.target, "--overwrite", "--bitmaps", disk.store,
                    "--json",
                ]))
            try disk.write(4, at: 13 * miB)
            let end = try disk.mirror("incremental", disk.live)
            #expect(end.code == Code.refused, "\(end)")
        }
    }
}
