import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// What two looks at a file or disk tell about the time between them, by rule.
@Suite struct WitnessRuleTests {
    private static let counted = WriteCounters(
        bootID: "b", diskSequence: 4, writes: 10, sectorsWritten: 80, discards: 1,
        sectorsDiscarded: 8, sectorsBesidePartitions: 3)

    enum Verdict: Equatable {
        case unchanged, written, timesOnly, unknown

        init(_ evidence: WriteEvidence) {
            switch evidence {
            case .unchanged: self = .unchanged
            case .written: self = .written
            case .timesOnly: self = .timesOnly
            case .unknown: self = .unknown
            }
        }
    }

    private typealias Change = @Sendable (inout WriteWitness) -> Void

    /// What became of a disk, and what is said about it.
    private static let disks: [(Change, Verdict)] = [
        ({ _ in }, .unchanged),
        ({ $0.size = 4608 }, .written),
        ({ $0.counters?.sectorsWritten += 8 }, .written),
        ({ $0.counters?.sectorsDiscarded += 8 }, .written),
        ({ $0.counters?.bootID = "c" }, .unknown),
        ({ $0.counters?.diskSequence = 5 }, .unknown),
        ({ $0.counters?.diskSequence = nil }, .unknown),
        ({ $0.counters?.sectorsBesidePartitions = 4 }, .unknown),
        ({ $0.counters?.sectorsBesidePartitions = nil }, .unknown),
        ({ $0.counters?.isComplete = false }, .unknown),
        ({ $0.counters = nil }, .unknown),
        (
            {
                $0.counters?.isComplete = false
                $0.counters?.sectorsWritten += 1
            }, .written
        ),
        (
            {
                $0.counters?.bootID = "c"
                $0.counters?.sectorsWritten += 1
            }, .unknown
        ),
    ]

    @Test(arguments: disks.indices)
    func `disks are judged`(index: Int) {
        let (change, verdict) = Self.disks[index]
        let before = WriteWitness(size: 4096, counters: Self.counted)
        var after = before
        change(&after)
        #expect(Verdict(after.evidence(since: before)) == verdict)
        // It makes no difference which of the two looks has the odd value.
        #expect(Verdict(before.evidence(since: after)) == verdict)
    }

    /// It counts as a write of no sectors.
    @Test func `a flush is no write`() {
        let before = WriteWitness(size: 4096, counters: Self.counted)
        var after = before
        after.counters?.writes += 1
        #expect(after.evidence(since: before) == .unchanged)
        // Fewer than before are another thing.
        #expect(Verdict(before.evidence(since: after)) == .written)
    }

    /// What became of a file, or of the one below a loop device, and what is said about it.
    private static let files: [(Change, Verdict)] = [
        ({ _ in }, .unchanged),
        ({ $0.size = 0 }, .written),
        ({ $0.modified = 99 }, .written),
        ({ $0.statusChanged = 99 }, .timesOnly),
        (
            {
                $0.modified = 99
                $0.statusChanged = 99
            }, .written
        ),
        ({ $0.modified = nil }, .unknown),
    ]

    @Test(arguments: files.indices, [false, true])
    func `files are judged`(index: Int, isLoop: Bool) {
        let (change, verdict) = Self.files[index]
        let before = WriteWitness(size: 4096, modified: 20, statusChanged: 20)
        var after = before
        change(&after)
        if isLoop {
            // Counters of another boot: the times of the file still tell.
            var (old, new) = (Self.counted, Self.counted)
            (old.bootID, new.bootID) = ("x", "y")
            var looped = before
            looped.counters = old
            after.counters = new
            #expect(Verdict(after.evidence(since: looped)) == verdict)
        } else {
            #expect(Verdict(after.evidence(since: before)) == verdict)
        }
    }

    @Test func `moved counters of a loop are a write even if the times stand still`() {
        let before = WriteWitness(
            size: 4096, modified: 20, statusChanged: 20, counters: Self.counted)
        var after = before
        after.counters?.writes += 2
        after.counters?.sectorsWritten += 16
        #expect(
            after.evidence(since: before)
                == .written("the kernel counted 2 writes (16 sectors of 512 bytes)"))
    }

    @Test func `witnesses are coded`() throws {
        let witness = WriteWitness(
            size: 1, modified: 2, statusChanged: 3, counters: Self.counted)
        #expect(try JSONCoding.roundTrip(witness) == witness)
    }

    /// Files of a server, which it writes itself.
    @Test func `times that need not move prove nothing`() {
        let before = WriteWitness(
            size: 4096, modified: 20, statusChanged: 20, timesShowWrites: false)
        guard case .unknown = before.evidence(since: before) else {
            Issue.record("\(before.evidence(since: before))")
            return
        }
        var after = before
        after.modified = 21
        guard case .written = after.evidence(since: before) else {
            Issue.record("\(after.evidence(since: before))")
            return
        }
    }

    @Test func `a state from before is told`() {
        let second: Int64 = 1_000_000_000
        let (old, new) = (
            WriteWitness(size: 1, modified: 9 * second, statusChanged: 10),
            WriteWitness(size: 1, modified: 9 * second, statusChanged: 11)
        )
        #expect(old.wentBack(since: new))
        #expect(!new.wentBack(since: old))
        // An older file that was put in its place, with its times.
        var older = new
        older.modified = 8 * second
        #expect(!older.wentBack(since: new), "a clock that was put right")
        older.modified = 8 * second - 1
        #expect(older.wentBack(since: new))
        #expect(!WriteWitness(size: 1).wentBack(since: new))
    }

    /// Files keep later times than there are numbers for.
    @Test(.enabled(if: access("/dev/shm", W_OK) == 0), arguments: ["2263", "2300", "1677"])
    func `times beyond all numbers are no trap`(year: String) throws {
        let path = "/dev/shm/ringmirror-test-\(getpid())-\(year)"
        defer { unlink(path) }
        try Shell.run("dd", "if=/dev/zero", "of=" + path, "bs=4096", "count=1", "status=none")
        try Shell.run("touch", "-d", "\(year)-06-01", path)
        let witness = try openSource(path).settledWitness()
        #expect(witness.modified == (year == "1677" ? .min : .max))
        guard case .unknown = witness.evidence(since: witness) else {
            Issue.record("\(witness)")
            return
        }
    }

    @Test(
        arguments: [
            (0, "1970-01-01 00:00:00.000 UTC"), (-1, "1969-12-31 23:59:59.999 UTC"),
            (951_782_400_250_000_000, "2000-02-29 00:00:00.250 UTC"),
            (1_732_541_820_000_999_999, "2024-11-25 13:37:00.000 UTC"),
            (4_102_444_799_999_999_999, "2099-12-31 23:59:59.999 UTC"),
            (.max, "2262-04-11 23:47:16.854 UTC"), (.min, "1677-09-21 00:12:43.145 UTC"),
        ] as [(Int64, String)])
    func `times are told in UTC`(nanoseconds: Int64, text: String) {
        #expect(UTCTime(nanoseconds).description == text)
    }
}

/// The same from what a kernel says.
@Suite struct WitnessTests {
    private func device(_ path: String) throws -> StorageDevice {
        try .openSource(FilePath(path), options: SourceOptions(allowSourceInUse: true))
    }

    private func write(_ path: String, at offset: UInt64 = 0) throws {
        let handle = try #require(FileHandle(forUpdatingAtPath: path))
        try handle.seek(toOffset: offset)
        try handle.write(contentsOf: Data("new".utf8))
        try handle.synchronize()
        try handle.close()
    }

    /// Timestamps tick coarsely: a write within the tick of the last one would not be seen.
    private func waitForATick(_ scratch: Scratch) throws {
        let path = try scratch.file("tick", size: 0)
        let first = try SystemCalls.freshStatus(at: FilePath(path)).modified
        for round in 0..<1000 {
            try Data("\(round)".utf8).write(to: URL(fileURLWithPath: path))
            if try SystemCalls.freshStatus(at: FilePath(path)).modified != first { return }
            usleep(1000)
        }
        Issue.record("the clock of files stands still")
    }

    @Test func `writes to a file are seen`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 1 << 20)
        let image = try device(path)
        let before = image.witness()
        #expect(image.witness().evidence(since: before) == .unchanged)
        try waitForATick(scratch)
        try write(path)
        guard case .written = image.witness().evidence(since: before) else {
            Issue.record("a write was not seen")
            return
        }
        let later = image.witness()
        try waitForATick(scratch)
        #expect(chmod(path, 0o600) == 0)
        guard case .timesOnly = image.witness().evidence(since: later) else {
            Issue.record("a change of the mode was not seen, or taken for a write")
            return
        }
    }

    @Test(.enabled(if: LoopDevice.isAvailable))
    func `writes to a loop are seen on both ways`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 1 << 20)
        let loop = try scratch.loop(over: path)
        let disk = try device(loop.path)
        let before = disk.witness()
        #expect(before.modified != nil && before.counters?.isComplete == true)
        #expect(disk.witness().evidence(since: before) == .unchanged)
        try waitForATick(scratch)
        try write(loop.path, at: 4096)
        let through = disk.witness()
        guard case .written = through.evidence(since: before) else {
            Issue.record("a write through the device was not seen")
            return
        }
        #expect(through.counters?.writes != before.counters?.writes)
        try waitForATick(scratch)
        try write(path)
        guard case .written = disk.witness().evidence(since: through) else {
            Issue.record("a write beside the device was not seen")
            return
        }
        #expect(disk.witness().counters?.sectorsWritten == through.counters?.sectorsWritten)
    }

    @Test(.enabled(if: LoopDevice.isAvailable))
    func `writes below a loop over a loop are seen`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 1 << 20)
        let disk = try device(try scratch.loop(over: try scratch.loop(over: path).path).path)
        let before = disk.witness()
        #expect(disk.witness().evidence(since: before) == .unchanged)
        try waitForATick(scratch)
        try write(path)
        guard case .written = disk.witness().evidence(since: before) else {
            Issue.record("a write below both devices was not seen")
            return
        }
    }

    private static let zeros = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"

    private func machine() throws -> Fixture {
        let machine = try Fixture()
        try machine.text("/proc/sys/kernel/random/boot_id", "boot")
        return machine
    }

    @Test func `counters of a disk are read`() throws {
        let machine = try machine()
        try machine.device(
            "sda", 8, 0,
            attributes: [
                "stat": "9 0 72 5 11 2 88 7 0 4 9 3 0 24 1 0 0", "queue/iostats": "1",
                "diskseq": "7",
            ])
        let witness = machine.view.witness(of: DeviceNumber(major: 8, minor: 0), size: 512)
        #expect(
            witness
                == WriteWitness(
                    size: 512,
                    counters: WriteCounters(
                        bootID: "boot", diskSequence: 7, writes: 11, sectorsWritten: 88,
                        discards: 3, sectorsDiscarded: 24)))
    }

    @Test func `counters that are switched off prove nothing`() throws {
        let machine = try machine()
        try machine.device(
            "zram0", 253, 0, attributes: ["stat": Self.zeros, "queue/iostats": "0"])
        let number = DeviceNumber(major: 253, minor: 0)
        let witness = machine.view.witness(of: number, size: 512)
        #expect(witness.counters?.isComplete == false)
        guard case .unknown = witness.evidence(since: witness) else {
            Issue.record("counters that are switched off were believed")
            return
        }
    }

    @Test(arguments: ["boot", "stat"])
    func `what is missing is unknown`(missing: String) throws {
        let machine = try Fixture()
        if missing != "boot" { try machine.text("/proc/sys/kernel/random/boot_id", "boot") }
        try machine.device(
            "sda", 8, 0, attributes: missing == "stat" ? [:] : ["stat": Self.zeros])
        #expect(
            machine.view.witness(of: DeviceNumber(major: 8, minor: 0), size: 512).counters == nil)
    }

    @Test func `writes beside the partitions are seen`() throws {
        let machine = try machine()
        func stat(_ writes: Int) -> String {
            "0 0 0 0 \(writes) 0 \(8 * writes) 0 0 0 0 0 0 0 0 0 0"
        }
        try machine.device(
            "sda", 8, 0, attributes: ["stat": stat(10), "queue/iostats": "1", "diskseq": "7"])
        try machine.device("sda1", 8, 1, on: "sda", attributes: ["stat": stat(4)])
        try machine.device("sda2", 8, 2, on: "sda", attributes: ["stat": stat(5)])
        let number = DeviceNumber(major: 8, minor: 1)
        let before = machine.view.witness(of: number, size: 512)
        #expect(before.counters?.writes == 4 && before.counters?.sectorsBesidePartitions == 8)
        #expect(before.counters?.diskSequence == 7)
        // A write to the neighbour is none of this partition's business.
        try machine.text("/sys/devices/made-up/sda/stat", stat(12))
        try machine.text("/sys/devices/made-up/sda/sda2/stat", stat(7))
        #expect(machine.view.witness(of: number, size: 512).evidence(since: before) == .unchanged)
        try machine.text("/sys/devices/made-up/sda/stat", stat(13))
        guard
            case .unknown = machine.view.witness(of: number, size: 512).evidence(since: before)
        else {
            Issue.record("a write through the whole disk was not seen")
            return
        }
    }

    @Test func `a loop over a disk is told by that disk`() throws {
        let machine = try machine()
        let below = try machine.device(
            "sdb", 8, 16, attributes: ["stat": "0 0 0 0 6 0 8 0 0 0 0 0 0 0", "queue/iostats": "1"])
        _ = try machine.loop("loop0", 0, over: below, path: "/dev/sdb")
        let witness = machine.view.witness(of: DeviceNumber(major: 7, minor: 0), size: 512)
        #expect(witness.counters?.writes == 6 && witness.counters?.isComplete == true)
    }

    @Test func `a loop whose file is not found is not believed`() throws {
        let machine = try machine()
        let file = NodeIdentity.file(device: DeviceNumber(major: 8, minor: 1), inode: 12)
        _ = try machine.loop("loop0", 0, over: file, path: "/gone (deleted)")
        try machine.text("/sys/devices/made-up/loop0/stat", Self.zeros)
        try machine.text("/sys/devices/made-up/loop0/queue/iostats", "1")
        let witness = machine.view.witness(of: DeviceNumber(major: 7, minor: 0), size: 512)
        #expect(witness.modified == nil && witness.counters?.isComplete == false)
    }
}
