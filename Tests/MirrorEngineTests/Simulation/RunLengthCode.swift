import BlockStorage
import MirrorEngine

/// The compression of the simulation: runs of one byte, behind their number of bytes. What follows
/// a cluster is not looked at, and what is not a cluster is found out.
struct RunLengthCode: Unpacking {
    private static let magic: [UInt8] = [0x52, 0x4C]

    static func pack(_ bytes: some Collection<UInt8>) -> [UInt8] {
        var packed = magic
        withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { packed += $0 }
        var rest = bytes[...]
        while let byte = rest.first {
            let count = rest.prefix(255).prefix { $0 == byte }.count
            packed += [UInt8(count), byte]
            rest = rest.dropFirst(count)
        }
        return packed
    }

    static func unpack(_ packed: ArraySlice<UInt8>) -> [UInt8]? {
        let packed = Array(packed)
        guard packed.count >= 6, Array(packed[..<2]) == magic else { return nil }
        let count = packed[2..<6].reversed().reduce(0) { $0 << 8 | Int($1) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var position = 6
        while bytes.count < count {
            guard position + 1 < packed.count, packed[position] > 0 else { return nil }
            bytes += repeatElement(packed[position + 1], count: Int(packed[position]))
            position += 2
        }
        return bytes.count == count ? bytes : nil
    }

    func unpack(
        _ packed: RawSpan, _ compression: Compression, into cluster: inout MutableRawSpan
    ) -> Bool {
        guard let bytes = Self.unpack(packed.withUnsafeBytes { Array($0)[...] }),
            bytes.count == cluster.byteCount
        else { return false }
        cluster.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
        return true
    }
}
