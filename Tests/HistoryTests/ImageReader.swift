/// Reads a qcow2 image without a backing file the slow and plain way: what the engine says of it is
/// measured by this.
struct ImageReader {
    private let file: [UInt8]
    let size: Int
    let clusterSize: Int
    private let l1: Int

    init?(_ file: [UInt8]) {
        guard file.count >= 104, file[0..<4] == [0x51, 0x46, 0x49, 0xfb] else { return nil }
        self.file = file
        clusterSize = 1 << Self.word(file, 20, 4)
        size = Self.word(file, 24, 8)
        l1 = Self.word(file, 40, 8)
    }

    private static func word(_ file: [UInt8], _ offset: Int, _ count: Int) -> Int {
        guard offset + count <= file.count else { return 0 }
        return file.withUnsafeBytes { bytes in
            count == 8
                ? Int(
                    truncatingIfNeeded: UInt64(
                        bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
                : Int(
                    UInt32(
                        bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
    }

    /// Where a cluster of the disk lies in the file; nil if it reads as zeros.
    func place(of cluster: Int) -> Int? {
        let perTable = clusterSize / 8
        let mask = 0x00ff_ffff_ffff_fe00
        let table = Self.word(file, l1 + cluster / perTable * 8, 8) & mask
        guard table != 0 else { return nil }
        let entry = Self.word(file, table + cluster % perTable * 8, 8)
        precondition(entry & (1 << 62) == 0, "no history makes compressed clusters")
        return entry & 1 == 1 || entry & mask == 0 ? nil : entry & mask
    }

    /// The disk's bytes.
    func disk() -> [UInt8] {
        var disk = [UInt8](repeating: 0, count: size)
        for start in stride(from: 0, to: size, by: clusterSize) {
            guard let place = place(of: start / clusterSize), place < file.count else { continue }
            let count = min(clusterSize, size - start, file.count - place)
            disk.replaceSubrange(start..<start + count, with: file[place..<place + count])
        }
        return disk
    }
}
