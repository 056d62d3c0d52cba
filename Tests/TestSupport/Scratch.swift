import Foundation
import Glibc

/// A directory of its own for one test, and everything set up for that test: taken down in
/// reverse order when the test lets go of it, also if it failed halfway.
public final class Scratch {
    public let path: String
    private var cleanups: [(Scratch) -> Void] = []

    public init(in parent: String = NSTemporaryDirectory(), mode: mode_t = 0o755) throws {
        var template = Array("\(parent)/ringmirror-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        // The kernel names what it has mounted without links and doubled slashes; so do we.
        let resolved = realpath(template, nil)!
        path = String(cString: resolved)
        free(resolved)
        chmod(path, mode)
    }

    deinit {
        while let cleanup = cleanups.popLast() { cleanup(self) }
        try? FileManager.default.removeItem(atPath: path)
    }

    /// - Parameter cleanup: is given the folder, and must not capture it: then neither would end.
    public func onCleanup(_ cleanup: @escaping (Scratch) -> Void) { cleanups.append(cleanup) }

    public func path(_ name: String) -> String { path + "/" + name }

    /// A sparse file of this size.
    @discardableResult
    public func file(_ name: String, size: Int64) throws -> String {
        let path = path(name)
        let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        guard ftruncate(descriptor, Int(size)) == 0 else {
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
        return path
    }

    /// A loop device over a new sparse file.
    public func loop(
        size: Int64, sectorSize: Int = 512, readOnly: Bool = false, directIO: Bool = false
    ) throws -> LoopDevice {
        let image = try file("disk-\(cleanups.count).img", size: size)
        return try loop(
            over: image, sectorSize: sectorSize, readOnly: readOnly, directIO: directIO)
    }

    /// A loop device over a file or device that is already there.
    public func loop(
        over backing: String, sectorSize: Int = 512, readOnly: Bool = false,
        directIO: Bool = false
    ) throws -> LoopDevice {
        let device = try LoopDevice(
            over: backing, sectorSize: sectorSize, readOnly: readOnly, directIO: directIO)
        onCleanup { _ in device.detach() }
        return device
    }

    /// Mounts a device, or with a type such as tmpfs nothing, on a directory made for it.
    public func mount(_ source: String, type: String? = nil, options: String = "") throws -> String
    {
        let point = path("mount-\(cleanups.count)")
        try FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
        var arguments = type.map { ["-t", $0] } ?? []
        if !options.isEmpty { arguments += ["-o", options] }
        try Shell.run("mount", arguments + [source, point])
        // Lazily if need be: a busy mount must not survive the test.
        onCleanup { _ in
            if (try? Shell.run("umount", point)) == nil {
                _ = try? Shell.run("umount", "-l", point)
            }
        }
        return point
    }
}
