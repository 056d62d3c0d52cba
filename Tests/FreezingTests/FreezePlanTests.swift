import BlockStorage
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import Freezing

/// Which filesystems are found, by what ways they are mounted.
@Suite(.serialized, .enabled(if: FreezeRig.isAvailable))
struct FreezePlanTests {
    private func plan(_ disk: String) throws -> FreezePlan {
        try FreezePlan.make(for: FilePath(disk), ours: [])
    }

    private func freezes(_ plan: FreezePlan, _ places: [String]) throws -> Bool {
        let freeze = try Freeze.begin(plan, limitNanoseconds: 60_000_000_000)
        let isFrozen = freeze.isStillFrozen() && places.allSatisfy { FreezeRig.isFrozen($0) }
        let span = freeze.thaw()
        return isFrozen && span.endedEarly == nil && span.stillFrozen.isEmpty
            && places.allSatisfy { FreezeRig.canWrite($0) }
    }

    @Test(
        .enabled(if: Shell.has("mkfs.xfs", "mkfs.btrfs")),
        arguments: [["mkfs.xfs", "-q"], ["mkfs.btrfs", "-q"]])
    func `other filesystems`(make: [String]) throws {
        let rig = try FreezeRig(make, size: 320 << 20)
        let plan = try rig.plan()
        #expect(FreezeRig.points(plan) == [[rig.place]] && plan.unheld.isEmpty)
        #expect(try freezes(plan, [rig.place]))
    }

    @Test(.enabled(if: Shell.has("mkfs.btrfs")))
    func `a btrfs of two disks, and what is in a file of its subvolume`() throws {
        let scratch = try Scratch()
        let disks = try (0..<2).map { _ in try scratch.loop(size: 160 << 20).path }
        let make = ["mkfs.btrfs", "-q", "-d", "raid0", disks[0]]
        let place = try FreezeRig.mount(disks[1], make, in: scratch)
        try Shell.run("btrfs", "subvolume", "create", place + "/part")
        try Shell.run("truncate", "-s", "8M", place + "/part/inner")
        let loop = try scratch.loop(over: place + "/part/inner")
        let inner = try FreezeRig.mount(loop.path, FreezeRig.ext4, in: scratch)
        for disk in disks {
            let plan = try plan(disk)
            #expect(plan.filesystems.map { $0.points.first } == [inner, place], "\(disk)")
            #expect(plan.unheld.isEmpty)
            #expect(try freezes(plan, [inner, place]))
        }
    }

    @Test func `one that is mounted more than once is frozen once`() throws {
        let rig = try FreezeRig()
        let other = try FreezeRig.directory("bind", in: rig.scratch)
        try Shell.run("mkdir", rig.place + "/below")
        try Shell.run("mount", "--bind", rig.place + "/below", other)
        rig.scratch.onCleanup { _ in _ = try? Shell.run("umount", "-l", other) }
        #expect(FreezeRig.points(try rig.plan()) == [[rig.place, other]])
        // Another one over its first place: by way of the second one it is found.
        let place = rig.place
        try Shell.run("mount", "-t", "tmpfs", "none", place)
        rig.scratch.onCleanup { _ in _ = try? Shell.run("umount", "-l", place) }
        #expect(try freezes(try rig.plan(), [other]))
        try Shell.run("umount", "-l", other)
        let plan = try rig.plan()
        // A namespace that another test makes has a copy of it.
        guard plan.filesystems.first?.points == [rig.place] else { return }
        #expect(throws: FreezeError.gone(plan.filesystems[0])) {
            try Freeze.begin(plan, limitNanoseconds: 60_000_000_000)
        }
    }

    @Test(.enabled(if: Shell.has("unshare")))
    func `one that is mounted in another namespace alone`() throws {
        let scratch = try Scratch()
        let disk = try scratch.loop(size: 32 << 20).path
        let place = try FreezeRig.directory("apart", in: scratch)
        try Shell.run("mkfs.ext4", "-q", "-F", disk)
        let holder = try Child(
            [
                "unshare", "-m", "sh", "-c",
                "mount \(disk) \(place) && echo mounted && exec sleep 600",
            ], in: scratch)
        try #require(holder.wait(until: { $0.output.contains("mounted") }))
        let there = "/proc/\(holder.pid)/root\(place)"
        scratch.onCleanup { _ in _ = try? Shell.run("fsfreeze", "-u", there) }
        let plan = try plan(disk)
        #expect(plan.filesystems.map(\.points) == [[there]] && plan.unheld.isEmpty)
        #expect(try freezes(plan, [there]))
        holder.kill(group: SIGKILL)
    }

    @Test(.enabled(if: Shell.has("addpart")))
    func `all partitions of a disk`() throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 64 << 20)
        let places = try FreezeRig.partitions(of: loop, in: scratch)
        #expect(try plan(loop.path).filesystems.compactMap(\.points.first).sorted() == places)
        #expect(try freezes(try plan(loop.path), places))
        #expect(FreezeRig.points(try plan(loop.path + "p2")) == [[places[1]]])
    }

    @Test func `what reads alone is left alone`() throws {
        let rig = try FreezeRig()
        try Shell.run("mount", "-o", "remount,ro", rig.place)
        let plan = try rig.plan()
        #expect(plan.filesystems.isEmpty && plan.unheld.isEmpty)
        #expect(try rig.begin().thaw().endedEarly == nil)
    }

    @Test func `who writes past filesystems is told`() throws {
        let rig = try FreezeRig()
        let writer = try Child(
            ["sh", "-c", "exec 3<>\(rig.disk); echo open; exec sleep 600"], in: rig.scratch)
        try #require(writer.wait(until: { $0.output.contains("open") }))
        #expect(try rig.plan().unheld == [.process("process \(writer.pid) (sleep)")])
        let users = try DiskUseWatch(FilePath(rig.disk))
        #expect(users.users() == ["ext4 at \(rig.place)"])
        try Shell.run("umount", rig.place)
        #expect(users.users() == ["process \(writer.pid) (sleep)"])
        writer.kill(group: SIGKILL)
        #expect(users.users().isEmpty)
    }

    @Test func `one that is unmounted while its files are open is told`() throws {
        let rig = try FreezeRig()
        let writer = try Child(
            ["sh", "-c", "exec 3<>\(rig.place)/file; echo open; exec sleep 600"], in: rig.scratch)
        try #require(writer.wait(until: { $0.output.contains("open") }))
        try Shell.run("umount", "-l", rig.place)
        #expect(try rig.plan().unheld == [.unseenMount(device: rig.disk, type: "ext4")])
        writer.kill(group: SIGKILL)
    }

    @Test(.enabled(if: Shell.has("mkswap", "swapon")))
    func `swap space in its files is told`() throws {
        let rig = try FreezeRig()
        let file = rig.place + "/swap"
        try Shell.run("dd", "if=/dev/zero", "of=\(file)", "bs=1M", "count=4")
        try Shell.run("mkswap", file)
        guard (try? Shell.run("swapon", file)) != nil else { return }
        defer { _ = try? Shell.run("swapoff", file) }
        #expect(try rig.plan().unheld == [.swap(file)])
    }

    @Test func `a file that is open for writing there is found`() throws {
        let rig = try FreezeRig()
        let file = open(rig.place + "/log", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(file) }
        let path = FilePath("/proc/self/fd/\(file)")
        let error = #expect(throws: FreezeError.self) { try rig.plan() }
        guard case .oursWouldHang(path, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test(.enabled(if: Shell.has("mount.overlay") || geteuid() == 0))
    func `an overlay writes to the filesystem of its upper directory`() throws {
        let rig = try FreezeRig()
        for name in ["upper", "work"] { try Shell.run("mkdir", "\(rig.place)/\(name)") }
        let lower = try FreezeRig.directory("lower", in: rig.scratch)
        let merged = try FreezeRig.directory("merged", in: rig.scratch)
        let options = "lowerdir=\(lower),upperdir=\(rig.place)/upper,workdir=\(rig.place)/work"
        guard (try? Shell.run("mount", "-t", "overlay", "-o", options, "none", merged)) != nil
        else { return }
        rig.scratch.onCleanup { _ in _ = try? Shell.run("umount", "-l", merged) }
        let store = FilePath(merged + "/not/yet/there")
        #expect(throws: FreezeError.self) {
            try FreezePlan.make(for: FilePath(rig.disk), ours: [store])
        }
    }
}
