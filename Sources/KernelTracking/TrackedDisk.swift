internal import BlockStorage
internal import CBPF
internal import Glibc
internal import SystemPackage

/// What sysfs says of a disk or partition that is to be tracked.
struct TrackedDisk: Sendable {
    /// What was given: a disk or a partition.
    let device: DeviceNumber
    /// The whole disk.
    let disk: DeviceNumber
    /// The tracked 512-byte sectors of the whole disk.
    let sectors: Range<UInt64>
    let diskSectors: UInt64
    /// Nil before Linux 5.15.
    let diskSequence: UInt64?
    /// Whether it has no request queue.
    let isBioBased: Bool

    /// Nil if sysfs knows no such device.
    init?(_ device: DeviceNumber) {
        let own = DiskFolder(of: device)
        guard let count = own.number("size") else { return nil }
        self.device = device
        let whole: DiskFolder
        if let start = own.number("start"), own.has("partition") {
            whole = own.parent
            sectors = UInt64(start)..<UInt64(start + count)
        } else {
            whole = own
            sectors = 0..<UInt64(count)
        }
        guard let disk = whole.deviceNumber, let size = whole.number("size") else { return nil }
        self.disk = disk
        diskSectors = UInt64(size)
        diskSequence = whole.number("diskseq").map { UInt64($0) }
        isBioBased = !whole.has("mq")
    }

    var folder: DiskFolder { DiskFolder(of: disk) }

    /// A number for the table of a device-mapper disk; 0 for other disks, nil if it can't be read.
    var tableHash: UInt64? {
        folder.has("dm") ? TrackerCalls.tableHash(of: disk) : 0
    }

    /// The node of what is tracked.
    var path: String { "/dev/" + DiskFolder(of: device).name }

    /// Why not all writes to it can be seen; nil if they can.
    func obstacle() -> UntrackableDisk? {
        let folder = folder
        if let zoned = folder.text("queue/zoned"), zoned != "none" { return .zoned }
        if folder.number("queue/dax") == 1 { return .directAccess }
        if isBioBased, folder.name.hasPrefix("nvme") { return .multipathHead }
        // One without requests may count whatever the switch says: a read of ours will tell.
        if !isBioBased, !folder.hasSwitchedOn { return .countersOff }
        // They hand a bio on as it is, and the kernel tells of a bio once.
        let strangers = ["md", "bcache"]
        for holder in folder.holders where strangers.contains(where: { holder.hasPrefix($0) }) {
            return .holder(holder)
        }
        return nil
    }
}

/// The folder of a disk or partition in sysfs.
struct DiskFolder: Sendable {
    private let path: String

    init(of number: DeviceNumber) { path = "/sys/dev/block/\(number)" }
    private init(path: String) { self.path = path }

    /// Of a partition: the folder of its disk.
    var parent: DiskFolder { DiskFolder(path: path + "/..") }

    func has(_ name: String) -> Bool {
        (try? SystemCalls.open(path + "/" + name, O_PATH)) != nil
    }

    func text(_ name: String) -> String? {
        guard let text = try? SystemCalls.text(at: path + "/" + name) else { return nil }
        return text.split(whereSeparator: \.isNewline).first.map { String($0) }
    }

    /// Nil for anything that is not 0 or more.
    func number(_ name: String) -> Int64? {
        text(name).flatMap { Int64($0) }.flatMap { $0 < 0 ? nil : $0 }
    }

    var deviceNumber: DeviceNumber? {
        guard let parts = text("dev")?.split(separator: ":"), parts.count == 2,
            let major = UInt32(parts[0]), let minor = UInt32(parts[1])
        else { return nil }
        return DeviceNumber(major: major, minor: minor)
    }

    /// The kernel's name of the disk.
    var name: String {
        let line = (try? SystemCalls.text(at: path + "/uevent"))?.split(whereSeparator: \.isNewline)
            .first { $0.hasPrefix("DEVNAME=") }
        return line.map { String($0.dropFirst("DEVNAME=".count)) } ?? ""
    }

    /// Whether the switch is on of the kernel's account of the disk.
    var hasSwitchedOn: Bool { number("queue/iostats") != 0 }

    /// Who stands on the disk or one of its partitions.
    var holders: [String] {
        let names = (try? SystemCalls.entries(of: path)) ?? []
        let partitions = names.filter { has($0 + "/partition") }
        return ([""] + partitions.map { "/" + $0 }).flatMap {
            (try? SystemCalls.entries(of: path + $0 + "/holders")) ?? []
        }
    }

    /// The numbers of a file that has them in one line.
    private func numbers(_ name: String) -> [UInt64] {
        (text(name) ?? "").split(separator: " ").compactMap { UInt64($0) }
    }

    /// Writes and discards that the driver has.
    var writesInFlight: UInt64 {
        let numbers = numbers("inflight")
        return numbers.count > 1 ? numbers[1] : 0
    }

    /// Sectors read since the disk came.
    var sectorsRead: UInt64 {
        let numbers = numbers("stat")
        return numbers.count > 2 ? numbers[2] : 0
    }

    /// Sectors written and discarded since the disk came; nil where that can't be read.
    var sectorsWritten: UInt64? {
        let numbers = numbers("stat")
        guard numbers.count > 6 else { return nil }
        return numbers[6] &+ (numbers.count > 13 ? numbers[13] : 0)
    }
}
