/// Whole tables of big-endian numbers, at the speed of memory: an image's tables have millions of
/// them, and byte by byte they would take longer than reading them from disk does.
extension Array where Element == UInt8 {
    /// The numbers in these bytes; bytes that don't make up a whole number are left out.
    package func bigEndianWords() -> [UInt64] {
        let count = count / 8
        return unsafe [UInt64](unsafeUninitializedCapacity: count) { words, filled in
            unsafe withUnsafeBytes { bytes in
                for index in 0..<count {
                    unsafe words[index] = UInt64(
                        bigEndian: bytes.loadUnaligned(
                            fromByteOffset: index &* 8, as: UInt64.self))
                }
            }
            filled = count
        }
    }
}

extension Array where Element == UInt64 {
    /// These numbers as an image has them.
    package func bigEndianBytes() -> [UInt8] {
        let count = count
        return unsafe [UInt8](unsafeUninitializedCapacity: count * 8) { bytes, filled in
            let raw = UnsafeMutableRawBufferPointer(bytes)
            unsafe withUnsafeBufferPointer { words in
                for index in 0..<count {
                    unsafe raw.storeBytes(
                        of: words[index].bigEndian, toByteOffset: index &* 8, as: UInt64.self)
                }
            }
            filled = count * 8
        }
    }
}
