/// How the formats write numbers: none negative, all within 63 bits.
enum NumberSyntax {
    /// Digits only.
    case decimal
    /// As in C: hexadecimal after `0x`, octal after `0`, else decimal.
    case c
    /// Hexadecimal after `0x`, else decimal, which may end in K, M, G, T, P or E for powers
    /// of 1024.
    case human

    private static let units = Array("kmgtpe".utf8)

    /// The number in all of `text`; nil if it isn't one or needs more than 63 bits.
    func parse(_ text: some BidirectionalCollection<UInt8>) -> Int64? {
        var digits = text[...]
        var radix: Int64 = 10
        var shift = 0
        if self != .decimal, digits.first == UInt8(ascii: "0"), digits.count > 1 {
            let second = digits[digits.index(after: digits.startIndex)]
            if second | 0x20 == UInt8(ascii: "x") {
                digits = digits.dropFirst(2)
                radix = 16
            } else if self == .c {
                radix = 8
            }
        }
        if self == .human, radix == 10, let unit = digits.last,
            let power = Self.units.firstIndex(of: unit | 0x20)
        {
            shift = 10 * (power + 1)
            digits = digits.dropLast()
        }
        guard let value = parse(digits, radix: radix) else { return nil }
        return value <= Int64.max >> Int64(shift) ? value << Int64(shift) : nil
    }

    private func parse(_ digits: some Collection<UInt8>, radix: Int64) -> Int64? {
        guard !digits.isEmpty else { return nil }
        var value: Int64 = 0
        for byte in digits {
            let digit: Int64
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = Int64(byte) - 48
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = Int64(byte) - 87
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = Int64(byte) - 55
            default: return nil
            }
            guard digit < radix else { return nil }
            let (product, isTooLarge) = value.multipliedReportingOverflow(by: radix)
            let (sum, isTooLargeNow) = product.addingReportingOverflow(digit)
            guard !isTooLarge, !isTooLargeNow else { return nil }
            value = sum
        }
        return value
    }
}
