internal import Glibc

/// Reads from /proc/self/smaps how much of an address range huge pages back.
enum HugePages {
    /// The sum of `AnonHugePages` over the mappings that lie within `range`, in bytes.
    static func byteCount(in range: Range<UInt>) -> Int? {
        guard let text = readSmallFile("/proc/self/smaps") else { return nil }
        var inside = false
        var total = 0
        for line in text.split(separator: "\n") {
            if let bounds = mappingBounds(line) {
                // The kernel merges neighbouring mappings, so ours may be a part of a larger one.
                inside = bounds.overlaps(range)
            } else if inside, line.hasPrefix("AnonHugePages:") {
                let digits = line.drop { !$0.isNumber }.prefix { $0.isNumber }
                total += (Int(digits) ?? 0) << 10
            }
        }
        return min(total, range.count)
    }

    private static func mappingBounds(_ line: Substring) -> Range<UInt>? {
        guard let space = line.firstIndex(of: " ") else { return nil }
        let parts = line[..<space].split(separator: "-")
        guard parts.count == 2, let low = UInt(parts[0], radix: 16),
            let high = UInt(parts[1], radix: 16), low <= high
        else { return nil }
        return low..<high
    }
}

/// The text of a file of /proc or /sys; nil if it can't be read.
func readSmallFile(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe read(descriptor, &chunk, chunk.count)
        if count <= 0 { break }
        bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}
