import Glibc

/// One line of mountinfo.
struct Mount: Equatable, Sendable {
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
        guard fields.count >= 10, let device = DeviceNumber(fields[2]),
            let dash = fields[6...].firstIndex(of: "-"), dash + 2 < fields.count
        else { return nil }
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
        guard let own = text("/proc/self/mountinfo") else { return nil }
        var tables = [own]
        var seen: Set<String> = []
        if let namespace = linkTarget("/proc/self/ns/mnt") { seen.insert(namespace) }
        for process in processes() {
            guard let namespace = linkTarget("/proc/\(process)/ns/mnt"),
                seen.insert(namespace).inserted,
                let table = text("/proc/\(process)/mountinfo")
            else { continue }
            tables.append(table)
        }
        return tables.flatMap { $0.split(separator: "\n").compactMap { Mount(line: $0) } }
    }

    /// The paths of active swap space; empty also where the kernel has no swap.
    func swaps() -> [String] {
        let lines = (text("/proc/swaps") ?? "").split(separator: "\n").dropFirst()
        return lines.compactMap { line in
            line.split(whereSeparator: { $0 == " " || $0 == "\t" }).first.map { unescapeOctal($0) }
        }
    }
}
