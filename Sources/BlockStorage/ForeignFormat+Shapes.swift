extension ForeignFormat {
    /// Recognises what begins with no number of its own, or with too short a one, by the shape of
    /// its whole header; where even that could be a disk, only if the file's name agrees.
    static func recognise(shapeOf beginning: [UInt8], named name: String) -> ForeignFormat? {
        let name = name.lowercased()
        if isLZMA(beginning, hasName: name.hasSuffix(".lzma")) {
            return ForeignFormat(
                name: "compressed by lzma", conversion: "xz --format=lzma -dc FILE > disk.raw")
        }
        if isLZW(beginning, hasName: name.hasSuffix(".z")) {
            return ForeignFormat(
                name: "compressed by compress", conversion: "gzip -dc < FILE > disk.raw")
        }
        if name.hasSuffix(".zz") || name.hasSuffix(".zlib"), isZlib(beginning) {
            return ForeignFormat(
                name: "compressed as a zlib stream", conversion: "pigz -dc < FILE > disk.raw")
        }
        return isTar(beginning) ? .tar : nil
    }

    static let tar = ForeignFormat(name: "a tar archive", conversion: "tar -xf FILE")

    /// A .lzma file has properties, a dictionary size and a size of 64 bits, and no number
    /// (lzma-specification.txt of the LZMA SDK; xz's lzma-file-format.txt says what of it is in
    /// use). The coded bytes begin with a zero. A size that is not given, all ones, is no number
    /// that disks have there; any other could be three small numbers of whatever is on a disk.
    private static func isLZMA(_ bytes: [UInt8], hasName: Bool) -> Bool {
        guard bytes.count >= 14, bytes[0] == 0x5d, bytes[13] == 0 else { return false }
        let dictionary = number(bytes[1..<5])
        let highest = UInt64(1) << (63 - UInt64(max(1, dictionary).leadingZeroBitCount))
        guard dictionary >= 4096, dictionary == highest || dictionary == highest + highest / 2
        else { return false }
        let size = number(bytes[5..<13])
        return size == .max || hasName && size < 1 << 40
    }

    /// A .Z file has two bytes, and the longest code in a third: 16 bits and the flag for blocks
    /// unless somebody chose less (the header of ncompress; two other flags are not in use).
    private static func isLZW(_ bytes: [UInt8], hasName: Bool) -> Bool {
        guard bytes.count >= 3, bytes.starts(with: [0x1f, 0x9d]) else { return false }
        let isPossible = bytes[2] & 0x60 == 0 && (9...16).contains(bytes[2] & 0x1f)
        return bytes[2] == 0x90 || hasName && isPossible
    }

    /// A zlib stream has two bytes, of which a remainder is the check (RFC 1950, 2.2).
    private static func isZlib(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 2, bytes[0] == 0x78, bytes[1] & 0x20 == 0 else { return false }
        return (Int(bytes[0]) << 8 + Int(bytes[1])) % 31 == 0
    }

    /// The first header of a tar archive of any age has the sum of its bytes, those of the sum
    /// taken as spaces, in octal digits at 148 (the manual of GNU tar, "Basic Tar Format").
    private static func isTar(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 512, bytes[0] != 0 else { return false }
        let place = 148..<156
        let digits = bytes[place].drop { $0 == UInt8(ascii: " ") }
            .prefix { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
        guard digits.count >= 3,
            bytes[digits.endIndex..<place.upperBound].allSatisfy({ [0, 0x20].contains($0) })
        else { return false }
        let others = bytes[..<place.lowerBound] + bytes[place.upperBound..<512]
        let sum = others.reduce(place.count * 0x20) { $0 + Int($1) }
        return digits.reduce(0) { $0 << 3 + Int($1 & 7) } == sum
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
