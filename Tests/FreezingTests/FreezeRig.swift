import Foundation
import SystemPackage
import TestSupport

@testable import Freezing

/// A filesystem on a loop device, thawed again whatever happens.
struct FreezeRig {
    let scratch: Scratch
    let loop: LoopDevice
    let disk: String
    let place: String

    static let isAvailable = LoopDevice.isAvailable && Shell.has("fsfreeze", "mkfs.ext4")
    static let ext4 = ["mkfs.ext4", "-q", "-F"]

    init(_ make: [String] = ext4, size: Int64 = 32 << 20) throws {
        scratch = try Scratch()
        loop = try scratch.loop(size: size)
        disk = loop.path
        place = try Self.mount(disk, make, in: scratch)
    }

    static func mount(_ disk: String, _ make: [String], in scratch: Scratch) throws -> String {
        try Shell.run(make[0], make.dropFirst() + [disk])
        let place = try directory("place-\(disk.split(separator: "/").last ?? "")", in: scratch)
        try Shell.run("mount", disk, place)
        scratch.onCleanup { _ in
            _ = try? Shell.run("fsfreeze", "-u", place)
            _ = try? Shell.run("umount", "-l", place)
        }
        return place
    }

    static func directory(_ name: String, in scratch: Scratch) throws -> String {
        let place = scratch.path(name)
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        return place
    }

    /// A filesystem in a file of this one, mounted from a loop device.
    func inner(size: Int64 = 8 << 20) throws -> (disk: String, place: String) {
        let file = place + "/inner"
        try Shell.run("truncate", "-s", String(size), file)
        let loop = try scratch.loop(over: file)
        return (loop.path, try Self.mount(loop.path, Self.ext4, in: scratch))
    }

    /// Filesystems on two partitions of a disk of 64 MiB.
    static func partitions(of loop: LoopDevice, in scratch: Scratch) throws -> [String] {
        try (0..<2).map { index in
            let node = try loop.addPartition(
                index + 1, start: Int64(2048 + index * 49152), sectors: 49152)
            return try mount(node, ext4, in: scratch)
        }
    }

    /// Where the filesystems of a plan are mounted in our own namespace; other tests may have some.
    static func points(_ plan: FreezePlan) -> [[String]] {
        plan.filesystems.map { $0.points.filter { !$0.hasPrefix("/proc/") } }
    }

    func plan() throws -> FreezePlan { try FreezePlan.make(for: FilePath(disk), ours: []) }

    func begin(limit: Int64 = 60_000_000_000) throws -> Freeze {
        try Freeze.begin(try plan(), limitNanoseconds: limit)
    }

    /// Whether a file can be made there within some seconds.
    static func canWrite(_ place: String, seconds: Int = 5) -> Bool {
        (try? Shell.run(
            "timeout", "-s", "KILL", String(seconds), "sh", "-c",
            "echo > \(place)/x && sync -f \(place)")) != nil
    }

    /// Whether the kernel has it frozen: who freezes it is told so.
    static func isFrozen(_ place: String) -> Bool {
        guard (try? Shell.run("fsfreeze", "-f", place)) == nil else {
            _ = try? Shell.run("fsfreeze", "-u", place)
            return false
        }
        return true
    }
}
