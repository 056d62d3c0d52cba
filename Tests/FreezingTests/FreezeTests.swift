import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import Freezing

/// Filesystems on loop devices that the tests made. Each is thawed again, whatever happens.
@Suite(.serialized, .enabled(if: LoopDevice.isAvailable && Shell.has("fsfreeze", "mkfs.ext4")))
struct FreezeTests {
    private struct Rig {
        let scratch: Scratch
        let disk: String
        let place: String
    }

    private func rig(_ make: [String] = ["mkfs.ext4", "-q", "-F"]) throws -> Rig {
        let scratch = try Scratch()
        let disk = try scratch.loop(size: 32 << 20).path
        return Rig(scratch: scratch, disk: disk, place: try mount(disk, make, in: scratch))
    }

    private func mount(_ disk: String, _ make: [String], in scratch: Scratch) throws -> String {
        try Shell.run(make[0], make.dropFirst() + [disk])
        let place = scratch.path("place-\(disk.split(separator: "/").last ?? "")")
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        try Shell.run("mount", disk, place)
        scratch.onCleanup {
            _ = try? Shell.run("fsfreeze", "-u", place)
            _ = try? Shell.run("umount", "-l", place)
        }
        return place
    }

    private func begin(_ rig: Rig, limit: Int64 = 60_000_000_000) throws -> Freeze {
        try Freeze.begin(
            try FreezePlan.make(for: FilePath(rig.disk), ours: []), limitNanoseconds: limit)
    }

    /// Whether a file can be made there within some seconds.
    private func canWrite(_ place: String) -> Bool {
        (try? Shell.run(
            "timeout", "-s", "KILL", "3", "sh", "-c", "echo > \(place)/x && sync -f \(place)"))
            != nil
    }

    @Test func `what is frozen is not written until it is thawed`() throws {
        let rig = try rig()
        let freeze = try begin(rig)
        #expect(freeze.isHeld && freeze.isStillFrozen())
        let writer = try Child(
            ["sh", "-c", "echo > \(rig.place)/late; echo written"], in: rig.scratch)
        #expect(!writer.wait(until: { $0.output.contains("written") }, seconds: 1))
        let span = freeze.thaw()
        #expect(span.endedEarly == nil && span.stillFrozen.isEmpty && span.nanoseconds > 0)
        #expect(try writer.wait().output.contains("written"))
        #expect(!freeze.isHeld && !freeze.isStillFrozen() && freeze.thaw() == span)
    }

    @Test func `the limit thaws, and is told`() throws {
        let rig = try rig()
        let freeze = try begin(rig, limit: 200_000_000)
        #expect(canWrite(rig.place))
        #expect(!freeze.isStillFrozen() && freeze.thaw().endedEarly == .limit)
    }

    @Test func `what something else thaws or has frozen is noticed`() throws {
        let rig = try rig()
        let freeze = try begin(rig)
        try Shell.run("fsfreeze", "-u", rig.place)
        #expect(!freeze.isStillFrozen() && freeze.thaw().endedEarly == .thawedByOther)
        try Shell.run("fsfreeze", "-f", rig.place)
        let plan = try FreezePlan.make(for: FilePath(rig.disk), ours: [])
        #expect(throws: FreezeError.alreadyFrozen(plan.filesystems[0])) { try begin(rig) }
        // It is left as it was.
        try Shell.run("fsfreeze", "-u", rig.place)
        #expect(canWrite(rig.place))
    }

    @Test func `a filesystem in a file of another one is frozen before that`() throws {
        let rig = try rig()
        let inner = rig.place + "/inner"
        try Shell.run("truncate", "-s", "8M", inner)
        let loop = try rig.scratch.loop(over: inner)
        let place = try mount(loop.path, ["mkfs.ext4", "-q", "-F"], in: rig.scratch)
        let plan = try FreezePlan.make(for: FilePath(rig.disk), ours: [])
        #expect(plan.filesystems.map { $0.points.first } == [place, rig.place])
        let freeze = try Freeze.begin(plan, limitNanoseconds: 60_000_000_000)
        #expect(freeze.isStillFrozen())
        #expect(freeze.thaw().endedEarly == nil)
        #expect(canWrite(place) && canWrite(rig.place))
    }

    @Test func `what would be written meanwhile may not be there`() throws {
        let rig = try rig()
        let path = FilePath(rig.place + "/store")
        let plan = try FreezePlan.make(for: FilePath(rig.disk), ours: [])
        #expect(
            throws: FreezeError.oursWouldHang(path: path, filesystem: plan.filesystems[0])
        ) { try FreezePlan.make(for: FilePath(rig.disk), ours: [path]) }
    }

    @Test(.enabled(if: Shell.has("mkfs.vfat")))
    func `what can't be frozen is told`() throws {
        guard let rig = try? rig(["mkfs.vfat"]) else { return }
        let plan = try FreezePlan.make(for: FilePath(rig.disk), ours: [])
        #expect(plan.filesystems.isEmpty && plan.unheld.count == 1, "\(plan.unheld)")
    }
}
