/// The checksum of GPT headers, zlib and Ethernet.
enum CRC32 {
    /// Complexity: eight steps a byte, which is little for the tables that are read here.
    static func checksum(of bytes: some Sequence<UInt8>) -> UInt32 {
        var checksum = UInt32.max
        for byte in bytes {
            checksum ^= UInt32(byte)
            for _ in 0..<8 {
                checksum = (checksum >> 1) ^ (checksum & 1 == 0 ? 0 : 0xedb8_8320)
            }
        }
        return ~checksum
    }
}
