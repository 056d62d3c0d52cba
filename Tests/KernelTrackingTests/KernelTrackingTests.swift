import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import KernelTracking

enum TrackingRig {
    /// Whether disks can be tracked here: by root, with a kernel that has what that needs.
    static let isAvailable: Bool = {
        guard DiskTracker.isBuiltIn, LoopDevice.isAvailable,
            access("/sys/kernel/btf/vmlinux", R_OK) == 0, let scratch = try? Scratch(),
            let disk = try? scratch.loop(size: 1 << 20)
        else { return false }
        return (try? DiskTracker.start(FilePath(disk.path))) != nil
    }()

    /// Each writes three times 64 KiB from 6553600 on.
    static let writers: [(name: String, command: String)] = [
        ("direct", "dd if=/dev/urandom of=$0 bs=64k count=3 seek=100 oflag=direct conv=notrunc"),
        ("buffered", "dd if=/dev/urandom of=$0 bs=64k count=3 seek=100 conv=notrunc,fsync"),
        ("O_DSYNC", "dd if=/dev/urandom of=$0 bs=64k count=3 seek=100 oflag=direct,dsync"),
        ("discard", "blkdiscard -o 6553600 -l 196608 $0"),
        ("zeroing", "blkdiscard -z -o 6553600 -l 196608 $0"),
    ]

    /// Comes to rest also where the kernel has failed to tell of a completion.
    static func rest(_ tracker: DiskTracker) {
        for _ in 0..<3 {
            if case .idle = tracker.waitUntilIdle(limit: .seconds(20)) { return }
        }
        Issue.record("the disk does not come to rest")
    }
}

/// The kernel's programs on loop devices that the tests made.
@Suite(.serialized, .enabled(if: TrackingRig.isAvailable))
struct KernelTrackingTests {
    private static let size: Int64 = 64 << 20
    private static let granule: Int64 = 65536

    private struct Rig {
        let scratch: Scratch
        let disk: LoopDevice
        let tracker: DiskTracker
    }

    private func rig(_ granularity: Granularity = .default) throws -> Rig {
        let scratch = try Scratch()
        let disk = try scratch.loop(size: Self.size)
        let tracker = try DiskTracker.start(FilePath(disk.path), granularity: granularity)
        return Rig(scratch: scratch, disk: disk, tracker: tracker)
    }

    private func taken(
        _ tracker: DiskTracker, _ granularity: Granularity = .default
    ) -> DirtyBitmap {
        var bits = DirtyBitmap(size: tracker.size, granularity: granularity)
        _ = tracker.take(into: &bits)
        return bits
    }

    private func runs(_ bits: borrowing DirtyBitmap) -> [Range<Int64>] {
        var runs: [Range<Int64>] = []
        bits.forEachDirtyRun { runs.append($0) }
        return runs
    }

    @Test(arguments: TrackingRig.writers.indices)
    func `each kind of write is marked where it was, and nothing else is`(kind: Int) throws {
        let rig = try rig()
        try Shell.run("sh", "-c", TrackingRig.writers[kind].command, rig.disk.path)
        TrackingRig.rest(rig.tracker)
        let found = runs(taken(rig.tracker))
        #expect(
            found == [100 * Self.granule..<103 * Self.granule], "\(TrackingRig.writers[kind].name)")
        #expect(try rig.tracker.losses() == [] && rig.tracker.inFlightBytes == 0)
        #expect(rig.tracker.writtenBytes >= 3 * Self.granule)
        #expect(runs(taken(rig.tracker)) == [])
    }

    /// More than a word of marks, and more than a word of words.
    @Test func `a range of many granules is marked to its end`() throws {
        let rig = try rig(try Granularity(bytes: 4096))
        try Shell.run("blkdiscard", "-o", "1052672", "-l", "52428800", rig.disk.path)
        TrackingRig.rest(rig.tracker)
        let found = runs(taken(rig.tracker, try Granularity(bytes: 4096)))
        #expect(found == [1_052_672..<53_481_472])
    }

    @Test func `what was taken is kept until it is said to be durable`() throws {
        let scratch = try Scratch()
        let disk = try scratch.loop(size: Self.size)
        let name = "test-\(getpid())-kept"
        scratch.onCleanup { _ in try? DiskTracker.stop(name: name) }
        do {
            let tracker = try DiskTracker.start(FilePath(disk.path), name: name)
            try Shell.run("blkdiscard", "-z", "-o", "0", "-l", "65536", disk.path)
            #expect(runs(taken(tracker)) == [0..<Self.granule])
            #expect(throws: TrackingError.inUse(name)) { try DiskTracker.open(name: name) }
        }
        try Shell.run("blkdiscard", "-z", "-o", "131072", "-l", "65536", disk.path)
        do {
            let tracker = try DiskTracker.open(name: name)
            #expect(
                runs(taken(tracker)) == [0..<Self.granule, 2 * Self.granule..<3 * Self.granule])
            tracker.release()
        }
        let tracker = try DiskTracker.open(name: name)
        #expect(runs(taken(tracker)) == [])
        #expect(try DiskTracker.list().contains { $0.name == name && $0.problem == nil })
        try tracker.stop()
        #expect(throws: TrackingError.noSuchTracker(name)) { try DiskTracker.open(name: name) }
    }

    @Test func `a tracker that is not whole is refused`() throws {
        let scratch = try Scratch()
        let disk = try scratch.loop(size: Self.size)
        let name = "test-\(getpid())-broken"
        scratch.onCleanup { _ in try? DiskTracker.stop(name: name) }
        _ = try DiskTracker.start(FilePath(disk.path), name: name)
        #expect(throws: TrackingError.nameTaken(name)) {
            try DiskTracker.start(FilePath(disk.path), name: name)
        }
        unlink("/sys/fs/bpf/ringmirror/\(name)/queue_link_1")
        #expect(throws: TrackingError.incomplete(name, lacks: "queue_link_1")) {
            try DiskTracker.open(name: name)
        }
    }

    @Test func `two trackers of one disk mark each for itself`() throws {
        let rig = try rig()
        let other = try DiskTracker.start(
            FilePath(rig.disk.path), granularity: Granularity(bytes: 4096))
        try Shell.run("blkdiscard", "-z", "-o", "4096", "-l", "4096", rig.disk.path)
        #expect(runs(taken(rig.tracker)) == [0..<Self.granule])
        #expect(runs(taken(other, try Granularity(bytes: 4096))) == [4096..<8192])
    }

    @Test func `a partition is a range of its disk`() throws {
        let scratch = try Scratch()
        let disk = try scratch.loop(size: Self.size)
        let node = try disk.addPartition(1, start: 2048, sectors: 32768)
        let tracker = try DiskTracker.start(FilePath(node))
        #expect(tracker.size == 32768 * 512)
        try Shell.run("blkdiscard", "-z", "-o", "0", "-l", "1048576", disk.path)
        try Shell.run("blkdiscard", "-z", "-o", "65536", "-l", "65536", node)
        TrackingRig.rest(tracker)
        #expect(runs(taken(tracker)) == [Self.granule..<2 * Self.granule])
    }

    @Test func `what nothing confirms is told`() throws {
        let rig = try rig()
        let switchFile = "/sys/block/\(rig.disk.name)/queue/iostats"
        try Shell.run("sh", "-c", "echo 0 > \(switchFile)")
        #expect(try rig.tracker.losses().contains(.countersOff))
        #expect(throws: TrackingError.self) { try DiskTracker.start(FilePath(rig.disk.path)) }
        try Shell.run("sh", "-c", "echo 1 > \(switchFile)")
        #expect(try rig.tracker.losses() == [])
    }

    /// Switched on again, they go on from where they were: they lack what was written meanwhile.
    @Test func `what nothing confirmed for a time is told afterwards`() throws {
        let rig = try rig()
        let switchFile = "/sys/block/\(rig.disk.name)/queue/iostats"
        try Shell.run("sh", "-c", "echo 0 > \(switchFile)")
        try Shell.run("blkdiscard", "-z", "-o", "0", "-l", "65536", rig.disk.path)
        try Shell.run("sh", "-c", "echo 1 > \(switchFile)")
        TrackingRig.rest(rig.tracker)
        #expect(try rig.tracker.losses() == [.countersOff])
    }

    @Test func `marks that are read stay where they are`() throws {
        let rig = try rig()
        try Shell.run("blkdiscard", "-z", "-o", "65536", "-l", "65536", rig.disk.path)
        try Shell.run("blkdiscard", "-o", "1048576", "-l", "16777216", rig.disk.path)
        TrackingRig.rest(rig.tracker)
        var bits = DirtyBitmap(size: rig.tracker.size, granularity: .default)
        rig.tracker.read(into: &bits)
        let expected = [Self.granule..<2 * Self.granule, 1_048_576..<17_825_792]
        #expect(runs(bits) == expected && runs(taken(rig.tracker)) == expected)
    }

    /// A store that knows an older number than the released one is an old copy.
    @Test func `merges are numbered, also those that were not released`() throws {
        let rig = try rig()
        #expect(rig.tracker.merges == (0, 0))
        _ = taken(rig.tracker)
        #expect(rig.tracker.beginMerge() == 1 && rig.tracker.beginMerge() == 2)
        #expect(rig.tracker.merges == (2, 0))
        rig.tracker.release()
        #expect(rig.tracker.merges == (2, 2) && rig.tracker.beginMerge() == 3)
    }

    @Test func `files and granules that are too fine are refused`() throws {
        let scratch = try Scratch()
        let file = try scratch.file("file", size: 1 << 20)
        #expect(throws: TrackingError.notADisk(path: FilePath(file))) {
            try DiskTracker.start(FilePath(file))
        }
        let disk = try scratch.loop(size: Self.size)
        #expect(throws: TrackingError.granularityTooFine(.min)) {
            try DiskTracker.start(FilePath(disk.path), granularity: .min)
        }
    }
}

/// What is checked in is what the compiler makes of the program.
@Suite struct TrackerObjectTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// The toolchain's compiler: another one makes another object.
    private static let compiler = try? Shell.run("sh", "-c", "command -v clang")

    private static func lines(_ text: String) -> ArraySlice<Substring> {
        // The first line has the version of the compiler.
        text.split(separator: "\n").dropFirst()
    }

    @Test(.enabled(if: compiler?.contains("swift") == true))
    func `the object is that of the program's source`() throws {
        let folder = Self.root.appending(path: "Sources/CBPF")
        let made = try Shell.run("sh", folder.appending(path: "bpf/compile").path)
        let kept = try String(
            contentsOf: folder.appending(path: "tracker_object.h"), encoding: .utf8)
        #expect(Self.lines(made) == Self.lines(kept), "make bpf")
    }
}
