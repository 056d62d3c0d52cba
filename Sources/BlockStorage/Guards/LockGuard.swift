internal import SystemPackage

/// Respects the record locks by which virtual machines mark an image as theirs.
package enum LockGuard {
    static func check(_ target: OpenedObject, _ view: SystemView) throws(StorageError) {
        guard target.kind == .image,
            // A filesystem without locks has no lock of anybody's.
            case .held(let pid) = try? SystemCalls.foreignRecordLock(target.descriptor)
        else { return }
        throw .refused(
            .lockedByOther(path: target.path, holder: pid.map { name(of: $0, view) }))
    }

    /// Who holds the flock on this file, by /proc/locks: lines such as
    /// `1: FLOCK  ADVISORY  WRITE 6585 fe:00:16220204 0 EOF`, device numbers in hexadecimal.
    static func flockHolder(of file: FileStatus, _ view: SystemView) -> ProcessName? {
        flockHolder(device: file.device, inode: file.inode, view)
    }

    private static func flockHolder(
        device: DeviceNumber, inode: UInt64, _ view: SystemView
    ) -> ProcessName? {
        for line in (view.text("/proc/locks") ?? "").split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 6, fields[1] == "FLOCK", let pid = Int(fields[4]) else {
                continue
            }
            let place = fields[5].split(separator: ":")
            guard place.count == 3,
                UInt32(place[0], radix: 16) == device.major,
                UInt32(place[1], radix: 16) == device.minor,
                UInt64(place[2]) == inode
            else { continue }
            return name(of: pid, view)
        }
        return nil
    }

    /// Who holds a flock on the file with these numbers, on the machine we run on.
    package static func flockHolder(device: DeviceNumber, inode: UInt64) -> ProcessName? {
        flockHolder(device: device, inode: inode, .live)
    }

    private static func name(of pid: Int, _ view: SystemView) -> ProcessName {
        ProcessName(pid: pid, command: view.value("/proc/\(pid)/comm") ?? "?")
    }
}
