import BlockStorage
import Glibc
import MirrorEngine

/// The compression of the simulation: runs of one byte, behind their number of bytes. What follows
/// a cluster is not looked at, and what is not a cluster is found out.
struct RunLengthCode: Decompressing {
    private static let magic: [UInt8] = [0x52, 0x4C]
    private static let headLength = 6

    static func compress(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var compressed = magic
        withUnsafeBytes(of: UInt32(bytes.count).littleEndian) { compressed += $0 }
        bytes.withUnsafeBufferPointer { bytes in
            var start = 0
            while start < bytes.count {
                var end = start + 1
                while end < bytes.count && end - start < 255 && bytes[end] == bytes[start] {
                    end += 1
                }
                compressed.append(UInt8(end - start))
                compressed.append(bytes[start])
                start = end
            }
        }
        return compressed
    }

    static func decompress(_ compressed: ArraySlice<UInt8>, count: Int) -> [UInt8]? {
        compressed.withUnsafeBytes { compressed in
            var bytes = [UInt8](repeating: 0, count: count)
            return bytes.withUnsafeMutableBytes { decompress(compressed, $0) } ? bytes : nil
        }
    }

    private static func decompress(
        _ compressed: UnsafeRawBufferPointer, _ bytes: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard compressed.count >= headLength, compressed[0] == magic[0], compressed[1] == magic[1],
            Int(compressed.loadUnaligned(fromByteOffset: 2, as: UInt32.self)) == bytes.count
        else { return false }
        var position = headLength
        var done = 0
        while done < bytes.count {
            guard position + 1 < compressed.count else { return false }
            let count = Int(compressed[position])
            guard count > 0, done + count <= bytes.count else { return false }
            memset(bytes.baseAddress! + done, CInt(compressed[position + 1]), count)
            done += count
            position += 2
        }
        return true
    }

    func decompress(
        _ compressed: RawSpan, _ compression: Compression, into cluster: inout MutableRawSpan
    ) -> Bool {
        compressed.withUnsafeBytes { compressed in
            cluster.withUnsafeMutableBytes { Self.decompress(compressed, $0) }
        }
    }
}
