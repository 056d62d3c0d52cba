import Foundation
import Glibc

/// A loop device that this process attached, and detaches for certain.
public final class LoopDevice {
    /// Such as `/dev/loop3`.
    public let path: String
    public let backing: String
    private var partitions: [Int] = []
    private var isAttached = true

    /// True if this process may make loop devices here.
    public static let isAvailable: Bool = {
        guard geteuid() == 0, Shell.has("losetup"), access("/dev/loop-control", R_OK | W_OK) == 0
        else { return false }
        return (try? Shell.run("losetup", "--find")) != nil
    }()

    public init(
        over backing: String, sectorSize: Int = 512, readOnly: Bool = false,
        directIO: Bool = false
    ) throws {
        var arguments = ["--show", "--find", "--sector-size", String(sectorSize)]
        if readOnly { arguments.append("--read-only") }
        if directIO { arguments.append("--direct-io=on") }
        // Between finding a free device and taking it, another process may take it.
        var path: String?
        var failure: (any Error)?
        for attempt in 0..<20 where path == nil {
            if attempt > 0 { usleep(50_000) }
            do { path = try Shell.run("losetup", arguments + [backing]) } catch { failure = error }
        }
        guard let path else { throw failure! }
        // Of a very small file losetup says before the name that it is small.
        self.path =
            path.split(separator: "\n").last { $0.hasPrefix("/dev/") }.map(String.init) ?? path
        self.backing = backing
    }

    deinit { detach() }

    /// The name in sysfs.
    public var name: String { String(path.dropFirst("/dev/".count)) }

    /// Adds a partition by hand, which works on kernels that read no partition tables.
    ///
    /// - Returns: the path of its node.
    public func addPartition(_ number: Int, start: Int64, sectors: Int64) throws -> String {
        try Shell.run("addpart", path, String(number), String(start), String(sectors))
        partitions.append(number)
        let node = "\(path)p\(number)"
        for _ in 0..<100 where access(node, F_OK) != 0 { usleep(10_000) }
        return node
    }

    public func detach() {
        guard isAttached else { return }
        isAttached = false
        for partition in partitions {
            _ = try? Shell.run("delpart", path, String(partition))
        }
        _ = try? Shell.run("losetup", "--detach", path)
    }
}
