import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// How long is waited for what a process left behind, and for what not.
@Suite(.serialized) struct LandingTests {
    @Test func `what is free is not waited for`() {
        var landing = Landing()
        let isFree = landing.wait(for: "/d", isOrphaned: { true }, until: { true })
        #expect(isFree)
        #expect(landing == Landing() && landing.notes("/d").isEmpty)
    }

    @Test func `a moment is not worth a word`() {
        var landing = Landing()
        var looks = 0
        let isFree = landing.wait(
            for: "/d", isOrphaned: { false },
            until: {
                looks += 1
                return looks == 3
            })
        #expect(isFree && landing.notes("/d").isEmpty)
    }

    @Test func `what a living process has is given up`() {
        var landing = Landing()
        var looks = 0
        let isFree = landing.wait(
            for: "/d", moment: 50, isOrphaned: { false },
            until: {
                looks += 1
                return false
            })
        #expect(!isFree && looks == 3 && landing.notes("/d").isEmpty)
    }

    @Test func `what a dead process left is waited for and told`() {
        let told = Mutex<[String]>([])
        StorageWait.observe { text in told.withLock { $0.append(text) } }
        defer { StorageWait.observe(nil) }
        var landing = Landing()
        var looks = 0
        let isFree = landing.wait(
            for: "/d", moment: 25, isOrphaned: { true },
            until: {
                looks += 1
                return looks == 4
            })
        #expect(isFree)
        // Once, and while it waits.
        #expect(
            told.withLock { $0 }.filter { $0.hasPrefix("/d is still held") }
                == [
                    "/d is still held, by no process that can be seen: waiting up to 10 s, in "
                        + "case writes of one that has ended have yet to land"
                ])
        #expect(
            landing.notes("/d") == [
                "/d was still held for a process that had ended: 0.2 s were waited for its writes "
                    + "to land"
            ])
    }

    /// Until somebody takes over, and then no longer.
    @Test func `a living process ends the wait`() {
        var landing = Landing()
        var asked = 0
        let isFree = landing.wait(
            for: "/d", moment: 0,
            isOrphaned: {
                asked += 1
                return asked < 3
            }, until: { false })
        #expect(!isFree && asked == 3)
    }

    @Test func `errors end the wait`() {
        #expect(throws: Errno.ioError) {
            var landing = Landing()
            _ = try landing.wait(
                for: "/d", isOrphaned: { true }, until: { () throws(Errno) in throw Errno.ioError })
        }
    }

    @Test func `the dead are told`() throws {
        let machine = try Fixture()
        for (pid, state) in [(70, "S"), (71, "Z"), (72, "X"), (73, "D")] {
            try machine.text("/proc/\(pid)/stat", "\(pid) (a) Z (b) \(state) 1 1 1 0 -1")
        }
        #expect(
            [70, 71, 72, 73, 74].map { machine.view.isAlive($0) } == [
                true, false, false, true, false,
            ])
        // Its first thread has ended, and another has not.
        try machine.text("/proc/71/task/71/comm", "a")
        try machine.text("/proc/71/task/75/comm", "a")
        #expect(machine.view.isAlive(71))
    }

    @Test func `a disk is orphaned if nothing has it`() throws {
        let machine = try Fixture()
        let disk = try machine.device("sdb", 8, 16)
        #expect(Landing.isOrphaned(disk, isClaimed: true, machine.view))
        try machine.link("/proc/70/fd/5", to: "/dev/sdb")
        machine.node("/proc/70/fd/5", disk)
        #expect(!Landing.isOrphaned(disk, isClaimed: true, machine.view))
        let held = try machine.device("sdc", 8, 32, holders: ["md0"])
        #expect(!Landing.isOrphaned(held, isClaimed: true, machine.view))
    }

    @Test func `a blind look waits for nothing`() throws {
        let disk = NodeIdentity.block(DeviceNumber(major: 8, minor: 16))
        #expect(!Landing.isOrphaned(disk, isClaimed: true, try Fixture().view))
    }
}
