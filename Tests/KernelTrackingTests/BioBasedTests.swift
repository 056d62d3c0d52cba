import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import KernelTracking

/// Disks without requests: the range of a write is kept between its two events.
@Suite(
    .serialized,
    .enabled(if: TrackingRig.isAvailable && access("/sys/class/zram-control/hot_add", F_OK) == 0))
struct BioBasedTests {
    private static let size: Int64 = 64 << 20

    /// Of a disk in memory the kernel keeps no account by itself.
    private func disk() throws -> ZramDisk? {
        let disk = try ZramDisk(size: Self.size)
        if let name = disk?.path.split(separator: "/").last {
            try Shell.run("sh", "-c", "echo 1 > /sys/block/\(name)/queue/iostats")
        }
        return disk
    }

    @Test(arguments: TrackingRig.writers.indices)
    func `each kind of write is marked where it was, and nothing else is`(kind: Int) throws {
        let disk = try #require(try disk())
        let tracker = try DiskTracker.start(FilePath(disk.path))
        try Shell.run("sh", "-c", TrackingRig.writers[kind].command, disk.path)
        TrackingRig.rest(tracker)
        var bits = DirtyBitmap(size: tracker.size)
        let isMarked = tracker.take(into: &bits)
        #expect(isMarked)
        var runs: [Range<Int64>] = []
        bits.forEachDirtyRun { runs.append($0) }
        #expect(runs == [6_553_600..<6_750_208])
        #expect(try tracker.losses() == [] && tracker.inFlightBytes == 0)
        #expect(tracker.writtenBytes == 196_608)
    }

    /// They are submitted on several CPUs at once, and are in the table together.
    @Test(.enabled(if: Shell.has("fio")))
    func `many writes in flight are all found again`() throws {
        let disk = try #require(try disk())
        let tracker = try DiskTracker.start(FilePath(disk.path))
        try Shell.run(
            "fio", "--name=x", "--filename=\(disk.path)", "--size=64m", "--rw=randwrite",
            "--bsrange=4k-128k", "--ioengine=io_uring", "--direct=1", "--iodepth=64",
            "--numjobs=4", "--output=/dev/null")
        TrackingRig.rest(tracker)
        #expect(tracker.writtenBytes >= 4 * Self.size)
        #expect(try tracker.losses() == [])
    }

    /// What was submitted before is not known, and is waited for: it is no loss.
    @Test func `a disk that is written while tracking starts loses nothing`() throws {
        let disk = try #require(try disk())
        let script = "for i in $(seq 200); do dd if=/dev/zero of=$0 bs=1M count=16 oflag=direct"
        let writer = Process()
        writer.executableURL = URL(filePath: "/bin/sh")
        writer.arguments = ["-c", script + " 2>/dev/null; sleep 0.06; done", disk.path]
        try writer.run()
        defer {
            writer.terminate()
            writer.waitUntilExit()
        }
        for _ in 0..<5 {
            let tracker = try DiskTracker.start(FilePath(disk.path), patience: .seconds(20))
            #expect(try tracker.losses() == [])
        }
    }
}
