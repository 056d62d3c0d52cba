import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import Freezing

/// Filesystems on loop devices that the tests made. Each is thawed again, whatever happens.
@Suite(.serialized, .enabled(if: FreezeRig.isAvailable))
struct FreezeTests {
    @Test func `what is frozen is not written until it is thawed`() throws {
        let rig = try FreezeRig()
        let freeze = try rig.begin()
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
        let rig = try FreezeRig()
        let freeze = try rig.begin(limit: 200_000_000)
        #expect(FreezeRig.canWrite(rig.place))
        #expect(!freeze.isStillFrozen() && freeze.thaw().endedEarly == .limit)
    }

    @Test func `what something else thaws or has frozen is noticed`() throws {
        let rig = try FreezeRig()
        let freeze = try rig.begin()
        try Shell.run("fsfreeze", "-u", rig.place)
        #expect(!freeze.isStillFrozen() && freeze.thaw().endedEarly == .thawedByOther)
        try Shell.run("fsfreeze", "-f", rig.place)
        let plan = try rig.plan()
        #expect(throws: FreezeError.alreadyFrozen(plan.filesystems[0])) { try rig.begin() }
        // It is left as it was.
        try Shell.run("fsfreeze", "-u", rig.place)
        #expect(FreezeRig.canWrite(rig.place))
    }

    @Test func `what can't be thawed is named, with the command that thaws it`() throws {
        let rig = try FreezeRig()
        let error = FreezeError.stillFrozen(try rig.plan().filesystems)
        #expect(error.problem.contains(rig.place) && error.code == .stillFrozen)
        #expect(error.remedy.description.contains("`fsfreeze -u \(rig.place)`"))
    }

    @Test func `a filesystem in a file of another one is frozen before that`() throws {
        let rig = try FreezeRig()
        let place = try rig.inner().place
        let plan = try rig.plan()
        #expect(plan.filesystems.map { $0.points.first } == [place, rig.place])
        let freeze = try Freeze.begin(plan, limitNanoseconds: 60_000_000_000)
        #expect(freeze.isStillFrozen())
        #expect(freeze.thaw().endedEarly == nil)
        #expect(FreezeRig.canWrite(place) && FreezeRig.canWrite(rig.place))
    }

    @Test func `what would be written meanwhile may not be there`() throws {
        let rig = try FreezeRig()
        let path = FilePath(rig.place + "/store")
        let plan = try rig.plan()
        #expect(
            throws: FreezeError.oursWouldHang(path: path, filesystem: plan.filesystems[0])
        ) { try FreezePlan.make(for: FilePath(rig.disk), ours: [path]) }
    }

    @Test(.enabled(if: Shell.has("mkfs.vfat")))
    func `what can't be frozen is told`() throws {
        guard let rig = try? FreezeRig(["mkfs.vfat"]) else { return }
        let plan = try rig.plan()
        #expect(plan.filesystems.isEmpty && plan.unheld.count == 1, "\(plan.unheld)")
    }
}
