/// Makes what `rbd export-diff` writes, by the documentation of the format.
struct RBDBuilder {
    let version: Int
    var bytes: [UInt8]

    init(version: Int) {
        self.version = version
        bytes = Array("rbd diff v\(version)\n".utf8)
    }

    static func number(_ value: UInt64, byteCount: Int = 8) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }

    mutating func record(_ tag: Character, _ content: [UInt8]) {
        bytes.append(tag.asciiValue ?? 0)
        if version == 2, tag != "e" { bytes += Self.number(UInt64(content.count)) }
        bytes += content
    }

    mutating func snapshot(_ tag: Character, _ name: String) {
        record(tag, Self.number(UInt64(name.utf8.count), byteCount: 4) + Array(name.utf8))
    }

    mutating func size(_ size: UInt64) { record("s", Self.number(size)) }

    mutating func write(_ offset: UInt64, _ count: Int) {
        let data = [UInt8](repeating: UInt8(ascii: "e"), count: count)
        record("w", Self.number(offset) + Self.number(UInt64(count)) + data)
    }

    mutating func zero(_ offset: UInt64, _ count: UInt64) {
        record("z", Self.number(offset) + Self.number(count))
    }

    mutating func end() { record("e", []) }

    /// A diff with all kinds of records, out of order as striped images have them.
    static func typical(version: Int, from: String? = "monday") -> [UInt8] {
        var diff = RBDBuilder(version: version)
        if let from { diff.snapshot("f", from) }
        diff.snapshot("t", "tuesday")
        diff.size(1 << 20)
        diff.write(65536, 4096)
        diff.zero(0, 8192)
        diff.write(69632, 512)
        diff.end()
        return diff.bytes
    }
}
