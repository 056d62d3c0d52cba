public import ArgumentParser
public import RingMirror

/// A number of bytes on the command line: `4096`, `64K`, `1.5G`. The letters are powers of 1024.
struct ByteSize: ExpressibleByArgument {
    let bytes: Int64

    private static let units: [Character] = ["K", "M", "G", "T", "P"]

    init(bytes: Int64) { self.bytes = bytes }

    init?(argument: String) {
        var text = argument.uppercased()[...]
        // 64K, 64KB and 64KiB all mean the same here; decimal units are not for disks.
        if text.hasSuffix("IB") {
            text = text.dropLast(2)
        } else if text.hasSuffix("B") {
            text = text.dropLast()
        }
        var factor: Int64 = 1
        if let last = text.last, let power = Self.units.firstIndex(of: last) {
            factor = 1 << (10 * Int64(power + 1))
            text = text.dropLast()
        }
        guard let first = text.first, first.isASCII, first.isNumber || first == "." else {
            return nil
        }
        if let whole = Int64(text) {
            let (bytes, overflow) = whole.multipliedReportingOverflow(by: factor)
            guard !overflow else { return nil }
            self.bytes = bytes
        } else if let number = Double(text), number.isFinite, number * Double(factor) < 9e18 {
            bytes = Int64(number * Double(factor))
        } else {
            return nil
        }
    }

    /// The size as people read it: three digits or so, and a unit.
    static func text(_ bytes: Double) -> String {
        let names = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = bytes
        var index = 0
        while value >= 1024 && index < names.count - 1 {
            value /= 1024
            index += 1
        }
        return index == 0 ? "\(Int64(bytes)) bytes" : "\(digits(value)) \(names[index])"
    }

    static func text(_ bytes: Int64) -> String { text(Double(bytes)) }

    /// The default in the help, as it would be typed: `64K`.
    var defaultValueDescription: String {
        var value = bytes
        var unit = ""
        for name in Self.units where value > 0 && value % 1024 == 0 {
            value /= 1024
            unit = String(name)
        }
        return "\(value)\(unit)"
    }

    private static func digits(_ value: Double) -> String {
        if value >= 100 { return "\(Int64(value))" }
        let tenths = Int64(value * 10)
        return "\(tenths / 10).\(tenths % 10)"
    }
}

/// Bytes a second on the command line: `200M`, `200M/s`. At least one.
struct ByteRate: ExpressibleByArgument {
    let bytes: Int64

    init?(argument: String) {
        let text = argument.hasSuffix("/s") ? argument.dropLast(2) : argument[...]
        guard let size = ByteSize(argument: String(text)), size.bytes >= 1 else { return nil }
        bytes = size.bytes
    }
}

extension ZeroHandling: ExpressibleByArgument {}

extension CacheChoice: ExpressibleByArgument {
    /// What `--cache` says of itself, the same in every command that has it.
    static var help: ArgumentHelp {
        ArgumentHelp(
            "How the page cache is used.",
            discussion: """
                direct is O_DIRECT or nothing; buffered goes through the page cache; auto takes \
                direct where it works.
                """, valueName: "how")
    }
}
