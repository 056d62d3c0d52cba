import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import Freezing

/// Nothing stays frozen, whoever is killed, and whatever hangs.
@Suite(.serialized, .enabled(if: FreezeRig.isAvailable))
struct FreezeEndTests {
    /// The process that froze what the watchdog thaws.
    private func freezer(of watchdog: CInt) throws -> CInt {
        let text = try Shell.run("ps", "-o", "pid=", "--ppid", String(watchdog))
        return try #require(CInt(text.trimmingCharacters(in: .whitespaces)))
    }

    @Test func `what a killed program has frozen is thawed`() async throws {
        let rig = try FreezeRig()
        let inner = try rig.inner()
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [disk = rig.disk as String, place = rig.place as String] in
            let plan = try FreezePlan.make(for: FilePath(disk), ours: [])
            let freeze = try Freeze.begin(plan, limitNanoseconds: 600_000_000_000)
            try #require(freeze.isStillFrozen() && FreezeRig.isFrozen(place))
            kill(getpid(), SIGKILL)
        }
        #expect(FreezeRig.canWrite(rig.place) && FreezeRig.canWrite(inner.place))
    }

    @Test func `what is not thawed on purpose is thawed when it is let go of`() throws {
        let rig = try FreezeRig()
        do {
            let freeze = try rig.begin()
            #expect(FreezeRig.isFrozen(rig.place) && freeze.isHeld)
        }
        #expect(FreezeRig.canWrite(rig.place))
    }

    @Test func `without its watchdog all is thawed at once`() throws {
        let rig = try FreezeRig()
        let inner = try rig.inner()
        let freeze = try rig.begin()
        kill(freeze.watchdog, SIGKILL)
        #expect(FreezeRig.canWrite(rig.place) && FreezeRig.canWrite(inner.place))
        #expect(!freeze.isHeld && !freeze.isStillFrozen())
        let span = freeze.thaw()
        #expect(span.endedEarly == .helperDied && span.stillFrozen.isEmpty)
    }

    @Test func `without the process that froze it, it is not taken for held`() throws {
        let rig = try FreezeRig()
        let freeze = try rig.begin()
        kill(try freezer(of: freeze.watchdog), SIGKILL)
        #expect(!freeze.isStillFrozen() && !freeze.isHeld)
        #expect(freeze.thaw().stillFrozen.isEmpty)
        #expect(FreezeRig.canWrite(rig.place))
    }

    @Test func `without any helper the program thaws`() throws {
        let rig = try FreezeRig()
        let freeze = try rig.begin()
        kill(try freezer(of: freeze.watchdog), SIGKILL)
        kill(freeze.watchdog, SIGKILL)
        #expect(!freeze.isStillFrozen() && !freeze.isHeld)
        #expect(freeze.thaw().endedEarly == .helperDied)
        #expect(FreezeRig.canWrite(rig.place))
    }

    /// What is written to the inner filesystem waits for the outer one, and so does its freeze.
    @Test func `a freeze that hangs is given up, and thawed when it comes through`() throws {
        let rig = try FreezeRig()
        let inner = try rig.inner()
        let plan = try FreezePlan.make(for: FilePath(inner.disk), ours: [])
        #expect(plan.filesystems.map { $0.points.first } == [inner.place])
        try Shell.run("fsfreeze", "-f", rig.place)
        try Shell.run("sh", "-c", "echo new > \(inner.place)/new")
        #expect(throws: FreezeError.hung(plan.filesystems[0])) {
            try Freeze.begin(plan, limitNanoseconds: 200_000_000)
        }
        try Shell.run("fsfreeze", "-u", rig.place)
        #expect(FreezeRig.canWrite(inner.place))
    }

    @Test func `a limit without end is one`() throws {
        let rig = try FreezeRig()
        let freeze = try rig.begin(limit: .max)
        #expect(freeze.isStillFrozen() && freeze.thaw().endedEarly == nil)
    }

    @Test(.enabled(if: Shell.has("addpart")))
    func `what is refused leaves nothing frozen`() throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 64 << 20)
        let places = try FreezeRig.partitions(of: loop, in: scratch)
        let plan = try FreezePlan.make(for: FilePath(loop.path), ours: [])
        let refused = try #require(plan.filesystems.last?.points.first)
        // The other one is frozen first, and is thawed again.
        try Shell.run("fsfreeze", "-f", refused)
        #expect(throws: FreezeError.alreadyFrozen(plan.filesystems[1])) {
            try Freeze.begin(plan, limitNanoseconds: 60_000_000_000)
        }
        #expect(FreezeRig.isFrozen(refused))
        try Shell.run("fsfreeze", "-u", refused)
        for place in places { #expect(FreezeRig.canWrite(place)) }
    }
}
