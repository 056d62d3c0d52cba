// Numbers as bytes, the least significant first.

extension [UInt8] {
    mutating func append(littleEndian value: some FixedWidthInteger) {
        for byte in 0..<value.bitWidth / 8 {
            append(UInt8(truncatingIfNeeded: value >> (byte * 8)))
        }
    }
}

extension RandomAccessCollection where Element == UInt8, Index == Int {
    /// The number in as many bytes as it is wide; nil if there are not exactly so many.
    func littleEndian<Number: FixedWidthInteger>(as type: Number.Type) -> Number? {
        guard count == type.bitWidth / 8 else { return nil }
        return reversed().reduce(0 as Number) { $0 << 8 | Number(truncatingIfNeeded: $1) }
    }
}

extension [UInt8] {
    func number<Number: FixedWidthInteger>(at position: Int, as type: Number.Type) -> Number {
        var value: Number = 0
        for byte in 0..<type.bitWidth / 8 {
            value |= Number(truncatingIfNeeded: self[position + byte]) << (byte * 8)
        }
        return value
    }
}
