import Glibc

/// One line of mountinfo.
struct Mount: Equatable, Sendable {
    /// The kernel's number of the mount, which no other one has while it lasts.
    let id: UInt64
    let device: DeviceNumber
    /// The directory of the filesystem that is mounted there.
    let root: String
    let point: String
    let filesystem: String
    let source: String
    /// Those of the filesystem, as its text has them.
    let options: Substring

    /// Parses a line; nil if it is not one.
    init?(line: Substring) {
        let fields = line.split(separator: " ", omittingEmptySubsequences: false)
        // Optional fields come before the dash, so what follows is found from there.
        guard fields.count >= 10, let id = UInt64(fields[0]), let device = DeviceNumber(fields[2]),
            let dash = fields[6...].firstIndex(of: "-"), dash + 2 < fields.count
        else { return nil }
        self.id = id
        self.device = device
        root = unescapeOctal(fields[3])
        point = unescapeOctal(fields[4])
        filesystem = String(fields[dash + 1])
        source = unescapeOctal(fields[dash + 2])
        options = dash + 3 < fields.count ? fields[dash + 3] : ""
    }

    /// Whether a path is below its mount point. Another mount may hide it there.
    func covers(_ path: String) -> Bool {
        path == point || point == "/" || path.hasPrefix(point + "/")
    }
}

/// What is mounted in one mount namespace.
struct MountTable: Sendable {
    /// A process of that namespace, whose root its mount points begin at; nil: our own.
    let process: Int?
    let mounts: [Mount]

    init(process: Int?, _ text: String) {
        self.process = process
        mounts = text.split(separator: "\n").compactMap { Mount(line: $0) }
    }

    /// The mount that has a path, by its name alone: the longest one, and of two at one place the
    /// later one, which hides the other.
    func mount(having path: String) -> Mount? {
        mounts.enumerated().filter { $0.element.covers(path) }.max {
            ($0.element.point.utf8.count, $0.offset) < ($1.element.point.utf8.count, $1.offset)
        }?.element
    }
}

/// Undoes `\040` and its like: the kernel writes blanks, tabs, line ends and backslashes so.
func unescapeOctal(_ text: some StringProtocol) -> String {
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
        let digits = bytes[index...].dropFirst().prefix(3)
        let isEscape =
            bytes[index] == UInt8(ascii: "\\") && digits.count == 3
            && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
        if isEscape {
            let value = digits.reduce(0) { $0 * 8 + Int($1 - UInt8(ascii: "0")) }
            result.append(UInt8(truncatingIfNeeded: value))
            index += 4
        } else {
            result.append(bytes[index])
            index += 1
        }
    }
    return String(decoding: result, as: UTF8.self)
}

extension SystemView {
    /// Everything mounted here and, as far as we may look, in other mount namespaces: what a
    /// container has mounted is in use too. Nil if not even our own table can be read.
    func mounts() -> [Mount]? {
        mountTables()?.flatMap(\.mounts)
    }

    /// The same by namespace, our own first.
    func mountTables() -> [MountTable]? {
        guard let own = text("/proc/self/mountinfo") else { return nil }
        var tables = [MountTable(process: nil, own)]
        var seen: Set<String> = []
        if let namespace = linkTarget("/proc/self/ns/mnt") { seen.insert(namespace) }
        for process in processes() {
            guard let namespace = linkTarget("/proc/\(process)/ns/mnt"),
                seen.insert(namespace).inserted,
                let table = text("/proc/\(process)/mountinfo")
            else { continue }
            tables.append(MountTable(process: process, table))
        }
        return tables
    }

    /// The paths of active swap space; empty also where the kernel has no swap.
    func swaps() -> [String] {
        let lines = (text("/proc/swaps") ?? "").split(separator: "\n").dropFirst()
        return lines.compactMap { line in
            line.split(whereSeparator: { $0 == " " || $0 == "\t" }).first.map { unescapeOctal($0) }
        }
    }
}
