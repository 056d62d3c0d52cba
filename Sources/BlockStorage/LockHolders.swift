internal import SystemPackage

/// Finds out who holds a lock.
package enum LockHolders {
    /// Who holds the flock on this file, by /proc/locks: lines such as
    /// `1: FLOCK  ADVISORY  WRITE 6585 fe:00:16220204 0 EOF`, device numbers in hexadecimal.
    static func ofFlock(on file: FileStatus, _ view: SystemView) -> ProcessName? {
        ofFlock(device: file.device, inode: file.inode, view)
    }

    private static func ofFlock(
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
            return view.processName(pid)
        }
        return nil
    }

    /// Who holds a flock on the file with these numbers, on the machine we run on.
    package static func ofFlock(device: DeviceNumber, inode: UInt64) -> ProcessName? {
        ofFlock(device: device, inode: inode, .live)
    }

    /// Whoever has a record lock on a byte of a file, this process as well. The kernel gives locks
    /// of this kind no pid, and tells of them where their descriptor is.
    static func ofRecordLock(
        at byte: Int64, on file: NodeIdentity, _ view: SystemView
    ) -> [ProcessName] {
        view.processes().compactMap { pid in
            let holds = view.descriptorTables(of: pid).contains { table in
                view.entries("\(table)/fd").contains { descriptor in
                    let link = "\(table)/fd/\(descriptor)"
                    return view.linkTarget(link)?.hasPrefix("/") ?? true
                        && view.identify(link) == file
                        && hasLock(at: byte, view.text("\(table)/fdinfo/\(descriptor)") ?? "")
                }
            }
            return holds ? view.processName(pid) : nil
        }
    }

    /// Lines such as `lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:16229606 200 201`, where the range's
    /// last byte may be `EOF`.
    private static func hasLock(at byte: Int64, _ information: String) -> Bool {
        information.split(separator: "\n").contains { line in
            let fields = line.split { $0 == " " || $0 == "\t" }
            guard fields.count >= 9, fields[0] == "lock:",
                fields[2] == "OFDLCK" || fields[2] == "POSIX", let first = Int64(fields[7])
            else { return false }
            return first <= byte && byte <= Int64(fields[8]) ?? .max
        }
    }
}
