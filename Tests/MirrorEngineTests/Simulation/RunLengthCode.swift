import BlockStorage
import Glibc
import MirrorEngine

/// The compression of the simulation: runs of one byte, behind their number of bytes. What follows
/// a cluster is not looked at, and what is not a cluster is found out.
struct RunLengthCode: Unpacking {
    private static let magic: [UInt8] = [0x52, 0x4C]
    private static let headLength = 6

    static func pack(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var packed = magic
        withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { packed += $0 }
        bytes.withUnsafeBufferPointer { bytes in
            var start = 0
            while start < bytes.count {
                var end = start + 1
                while end < bytes.count && end - start < 255 && bytes[end] == bytes[start] {
                    end += 1
                }
                packed.append(UInt8(end - start))
                packed.append(bytes[start])
                start = end
            }
        }
        return packed
    }

    static func unpack(_ packed: ArraySlice<UInt8>, count: Int) -> [UInt8]? {
        packed.withUnsafeBytes { packed in
            var bytes = [UInt8](repeating: 0, count: count)
            return bytes.withUnsafeMutableBytes { unpack(packed, $0) } ? bytes : nil
        }
    }

    private static func unpack(
        _ packed: UnsafeRawBufferPointer, _ bytes: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard packed.count >= headLength, packed[0] == magic[0], packed[1] == magic[1],
            Int(packed.loadUnaligned(fromByteOffset: 2, as: UInt32.self)) == bytes.count
        else { return false }
        var position = headLength
        var done = 0
        while done < bytes.count {
            guard position + 1 < packed.count else { return false }
            let count = Int(packed[position])
            guard count > 0, done + count <= bytes.count else { return false }
            memset(bytes.baseAddress! + done, CInt(packed[position + 1]), count)
            done += count
            position += 2
        }
        return true
    }

    func unpack(
        _ packed: RawSpan, _ compression: Compression, into cluster: inout MutableRawSpan
    ) -> Bool {
        packed.withUnsafeBytes { packed in
            cluster.withUnsafeMutableBytes { Self.unpack(packed, $0) }
        }
    }
}
