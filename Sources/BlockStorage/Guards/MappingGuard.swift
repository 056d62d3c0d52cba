/// Finds processes that have storage mapped into their memory. A shared mapping writes for as long
/// as it lives, and its descriptor may be closed: it then shows only in the list of mappings.
enum MappingGuard {
    /// Whether the process may write to any of `reach` through a shared mapping; nil if it has none
    /// of it mapped so.
    static func access(
        of pid: Int, to reach: Set<NodeIdentity>, _ view: SystemView
    ) -> Bool? {
        guard let maps = view.mappings(of: pid) else { return nil }
        var found: Bool?
        for line in maps.split(separator: UInt8(ascii: "\n")) {
            guard isShared(line), let mapping = Mapping(line), isOf(mapping, pid, reach, view)
            else { continue }
            if mapping.isWritable || mayBecomeWritable(mapping, pid, view) { return true }
            found = false
        }
        return found
    }

    /// Whether a mapping that is only read now was made by a descriptor that may write: its memory
    /// can be made writable again, for as short a time as it likes. What can't be told may well.
    private static func mayBecomeWritable(
        _ mapping: Mapping, _ pid: Int, _ view: SystemView
    ) -> Bool {
        guard let list = view.mappings(of: pid, "smaps") else { return true }
        let lines = String(decoding: list, as: UTF8.self).split(separator: "\n")
        guard let start = lines.firstIndex(where: { $0.hasPrefix("\(mapping.addresses) ") }),
            let flags = lines[start...].first(where: { $0.hasPrefix("VmFlags:") })
        else { return true }
        return flags.split(separator: " ").contains("mw")
    }

    /// Whether the process has any of `reach` mapped, in whatever way: a mapping keeps the access
    /// of the descriptor that it was made with, and a shared one can be made writable later.
    static func maps(_ reach: Set<NodeIdentity>, _ pid: Int, _ view: SystemView) -> Bool {
        guard let maps = view.mappings(of: pid) else { return false }
        return maps.split(separator: UInt8(ascii: "\n")).contains { line in
            Mapping(line).map { isOf($0, pid, reach, view) } ?? false
        }
    }

    /// Most mappings are private: those lines end here, before anything is taken apart.
    private static func isShared(_ line: ArraySlice<UInt8>) -> Bool {
        guard let blank = line.firstIndex(of: UInt8(ascii: " ")), line.endIndex - blank > 5 else {
            return false
        }
        return line[blank + 4] == UInt8(ascii: "s")
    }

    private static func isOf(
        _ mapping: Mapping, _ pid: Int, _ reach: Set<NodeIdentity>, _ view: SystemView
    ) -> Bool {
        if let identity = view.identify("/proc/\(pid)/map_files/\(mapping.addresses)") {
            return reach.contains(identity)
        }
        // The links are for root alone, and gone when the mapping was changed since or the first
        // thread has ended. A filesystem of no single device shows another number here than to
        // statx, and a disk that of its node: the name may tell.
        if reach.contains(.file(device: mapping.device, inode: mapping.inode)) { return true }
        return view.identify(mapping.path).map(reach.contains) ?? false
    }

    /// A line of maps that is a mapping of a file, such as
    /// `7f0c1000-7f0c2000 rw-s 00000000 fe:00 1234   /srv/vm.img`, in hexadecimal but the inode.
    private struct Mapping {
        let addresses: String
        let isWritable: Bool
        let device: DeviceNumber
        let inode: UInt64
        let path: String

        init?(_ line: ArraySlice<UInt8>) {
            let fields = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 5)
            guard fields.count >= 5, let inode = UInt64(fields[4]), inode != 0 else { return nil }
            let numbers = fields[3].split(separator: ":").map { UInt32($0, radix: 16) }
            guard numbers.count == 2, let major = numbers[0], let minor = numbers[1] else {
                return nil
            }
            addresses = String(fields[0])
            isWritable = fields[1].dropFirst().first == "w"
            device = DeviceNumber(major: major, minor: minor)
            self.inode = inode
            path = fields.count > 5 ? String(fields[5].trimmed) : ""
        }
    }
}
