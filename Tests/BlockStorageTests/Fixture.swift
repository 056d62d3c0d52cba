import Foundation
import SystemPackage
import TestSupport

@testable import BlockStorage

/// A made-up proc and sysfs, for machines that cannot be had here.
final class Fixture {
    let scratch: Scratch
    private var nodes: [String: NodeIdentity] = [:]
    private var loops: [String: NodeIdentity] = [:]
    private var statuses: [FilePath: FileStatus] = [:]
    private var filesystems: [FilePath: Filesystem] = [:]

    init() throws {
        scratch = try Scratch()
        try text("/proc/self/mountinfo", "")
    }

    /// The view, with everything added so far.
    var view: SystemView {
        let nodes = nodes
        let loops = loops
        let statuses = statuses
        let filesystems = filesystems
        return SystemView(
            root: scratch.path, identify: { nodes[$0] }, loopBacking: { loops[$0] },
            status: { statuses[$0] }, filesystem: { filesystems[$0] })
    }

    func survey() throws -> Survey { try Survey.take(view) }

    func text(_ path: String, _ content: String) throws {
        let full = scratch.path + path
        try FileManager.default.createDirectory(
            atPath: (full as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true)
        try (content + "\n").write(toFile: full, atomically: false, encoding: .utf8)
    }

    func link(_ path: String, to target: String) throws {
        let full = scratch.path + path
        try FileManager.default.createDirectory(
            atPath: (full as NSString).deletingLastPathComponent,
            withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: full, withDestinationPath: target)
    }

    /// A path of the made-up machine that leads to this.
    func node(_ path: String, _ identity: NodeIdentity) { nodes[path] = identity }

    /// An overlay 0:52 at `/m` over `/u` and, below it, `/lower`, both directories of disk 8:1.
    func overlay() throws {
        for (inode, layer) in ["/u", "/lower"].enumerated() {
            node(
                layer,
                .other(device: DeviceNumber(major: 8, minor: 1), inode: 100 + UInt64(inode)))
        }
        try mounts("40 35 0:52 / /m rw - overlay none rw,lowerdir=/lower,upperdir=/u")
    }

    /// Takes a directory away.
    func hide(_ path: String) throws {
        try FileManager.default.removeItem(atPath: scratch.path + path)
    }

    /// What statx says about a file.
    func status(_ path: String, _ identity: NodeIdentity) {
        guard case .file(let device, let inode) = identity else { return }
        statuses[FilePath(path)] = FileStatus(
            kind: .regular, device: device, special: DeviceNumber(major: 0, minor: 0),
            inode: inode, links: 1, size: 0, modified: 0, changed: 0, born: nil, direct: nil)
    }

    func filesystem(_ path: String, _ filesystem: Filesystem?) {
        filesystems[FilePath(path)] = filesystem
    }

    /// A block device, as a directory of sysfs with its links.
    @discardableResult
    func device(
        _ name: String, _ major: UInt32, _ minor: UInt32, on disk: String? = nil,
        start: Int64 = 0, sectors: Int64 = 8_388_608, holders: [String] = [],
        slaves: [String] = [], attributes: [String: String] = [:]
    ) throws -> NodeIdentity {
        let number = DeviceNumber(major: major, minor: minor)
        let place = disk.map { "\($0)/\(name)" } ?? name
        let directory = "/sys/devices/made-up/" + place
        try text(directory + "/dev", number.description)
        try text(directory + "/size", String(sectors))
        if disk != nil {
            try text(directory + "/partition", "1")
            try text(directory + "/start", String(start))
        }
        for holder in holders { try text(directory + "/holders/" + holder, "") }
        for slave in slaves { try text(directory + "/slaves/" + slave, "") }
        for (attribute, value) in attributes { try text("\(directory)/\(attribute)", value) }
        try link("/sys/class/block/" + name, to: "../../devices/made-up/" + place)
        try link("/sys/dev/block/\(number)", to: "../../devices/made-up/" + place)
        node("/dev/" + name, .block(number))
        return .block(number)
    }

    func loop(_ name: String, _ minor: UInt32, over identity: NodeIdentity, path: String) throws
        -> NodeIdentity
    {
        loops[name] = identity
        return try device(name, 7, minor, attributes: ["loop/backing_file": path])
    }

    func mounts(_ lines: String...) throws {
        try text("/proc/self/mountinfo", lines.joined(separator: "\n"))
    }
}
