import Foundation
import TestSupport
import Testing

@testable import BlockStorage

/// Partition tables are found where they are, and only where they are.
@Suite struct PartitionTableTests {
    static let size: Int64 = 64 << 20

    @Test(arguments: [512, 1024, 2048, 4096])
    func `a GPT says what it counts in by where it is`(sectorSize: Int64) {
        let first = Int64(1 << 20) / sectorSize
        let table = DiskBytes.gpt(
            sectorSize, Self.size, [first...first + 99, first + 200...first + 299]
        )
        .table()
        #expect(table?.kind == .gpt)
        #expect(table?.sectorSize == sectorSize)
        #expect(
            table?.partitions == [
                1 << 20..<(first + 100) * sectorSize,
                (first + 200) * sectorSize..<(first + 300) * sectorSize,
            ])
        #expect(table?.backupEnd == Self.size)
        #expect(table?.isCompound == false)
    }

    @Test(arguments: [512, 4096])
    func `an MBR counts in what is assumed`(assumed: Int64) {
        let disk = DiskBytes.mbr(Self.size, [(0x83, 256, 1024), (0x07, 2048, 100)])
        let table = disk.table(assumed: assumed)
        #expect(table?.kind == .mbr)
        #expect(table?.sectorSize == assumed)
        #expect(
            table?.partitions == [
                256 * assumed..<1280 * assumed, 2048 * assumed..<2148 * assumed,
            ])
        #expect(table?.isCompound == false)
        #expect(table?.backupEnd == nil)
        let extended = DiskBytes.mbr(Self.size, [(0x83, 256, 1024), (0x0f, 2048, 100)])
        #expect(extended.table(assumed: assumed)?.isCompound == true)
        // Partitions that can't be on this disk are no reason to speak.
        let far = DiskBytes.mbr(Self.size, [(0x83, 256, 1 << 20)])
        #expect(far.table(assumed: assumed) == nil)
    }

    @Test func `a GPT without what protects it, or with more than that beside it`() {
        var disk = DiskBytes.gpt(512, Self.size, [2048...4095])
        disk.bytes[446 + 4] = 0x83
        #expect(disk.table()?.kind == .mbr)
        disk.bytes[510] = 0
        #expect(disk.table() == nil)
        var hybrid = DiskBytes.gpt(512, Self.size, [2048...4095])
        hybrid.setEntry(1, 0x83, 2048, 2048)
        #expect(hybrid.table()?.kind == .gpt)
        #expect(hybrid.table()?.isCompound == true)
    }

    @Test(arguments: [512, 4096])
    func `a bit that is not as it was written makes a GPT none`(sectorSize: Int64) {
        let good = DiskBytes.gpt(sectorSize, Self.size, [512...1023])
        let header = Int(sectorSize)
        let list = Int(2 * sectorSize)
        for offset in Array(header..<header + 92) + [list, list + 40, list + 128 * 128 - 1] {
            var disk = good
            disk.bytes[offset] ^= 0x10
            #expect(disk.table() == nil, "byte \(offset)")
        }
        // What is behind the header's length, and behind the list, is not part of it.
        var disk = good
        disk.bytes[list + 128 * 128] ^= 0x10
        #expect(disk.table() != nil)
    }

    @Test func `numbers that can't be are found behind checksums that are right`() {
        func disk(_ change: (inout DiskBytes) -> Void) -> PartitionTable? {
            var disk = DiskBytes.gpt(512, Self.size, [2048...4095])
            change(&disk)
            disk.seal(512)
            return disk.table()
        }
        #expect(disk { _ in } != nil)
        for offset in [24, 32, 40, 48, 72] {
            #expect(disk { $0.set(.max, 8, at: 512 + offset) } == nil, "\(offset)")
        }
        for offset in [8, 12, 80, 84] {
            #expect(disk { $0.set(.max, 4, at: 512 + offset) } == nil, "\(offset)")
            #expect(disk { $0.set(0, 4, at: 512 + offset) } == nil, "\(offset)")
        }
        // Their product is more than a number has.
        #expect(
            disk {
                $0.set(0xffff_ffff, 4, at: 512 + 80)
                $0.set(0xffff_ff80, 4, at: 512 + 84)
            } == nil)
        for (first, last) in [(0, UInt64.max), (UInt64.max, UInt64.max), (4095, 2048), (1, 2)] {
            #expect(
                disk {
                    $0.set(first, 8, at: 1024 + 32)
                    $0.set(last, 8, at: 1024 + 40)
                } == nil, "\(first) \(last)")
        }
    }

    @Test func `what begins with a filesystem has no partition table`() throws {
        let scratch = try Scratch()
        let tools = ["mkfs.fat", "mkfs.ext4 -q", "mkfs.xfs -q", "mkfs.btrfs -q", "mkswap -q"]
        for tool in tools where Shell.has(String(tool.split(separator: " ")[0])) {
            let path = try scratch.file("disk", size: 400 << 20)
            try Shell.run("sh", "-c", "\(tool) \(path) >/dev/null")
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            #expect(DiskBytes(bytes: [UInt8](data.prefix(1 << 20)), size: 400 << 20).table() == nil)
        }
        // Boot code where entries would be, and entries that look right in what says what it is.
        var boot = DiskBytes.mbr(Self.size, [(0x83, 2048, 2048)])
        for (offset, name) in [
            (3, "NTFS    "), (3, "EXFAT   "), (54, "FAT16   "), (82, "FAT32   "),
        ] {
            var disk = boot
            disk.bytes.replaceSubrange(offset..<offset + name.utf8.count, with: name.utf8)
            #expect(disk.table() == nil, "\(name)")
        }
        boot.bytes[446 + 16] = 0x7c
        #expect(boot.table() == nil)
        #expect(DiskBytes(bytes: [UInt8](repeating: 0, count: 8192), size: 8192).table() == nil)
    }

    @Test func `the checksum is the one that everybody has`() {
        #expect(CRC32.checksum(of: "123456789".utf8) == 0xcbf4_3926)
        #expect(CRC32.checksum(of: []) == 0)
    }

    @Test func `short disks and bytes that can't be read`() {
        let disk = DiskBytes.gpt(512, Self.size, [2048...4095])
        for size in [0, 1, 511, 512, 513, 1024, 4096, 17407] {
            let cut = DiskBytes(bytes: Array(disk.bytes.prefix(size)), size: Int64(size))
            #expect(cut.table() == nil, "\(size)")
        }
        #expect(PartitionTable.find(size: Self.size, assumed: 512) { _ in nil } == nil)
        var asked = 0
        let found = PartitionTable.find(size: Self.size, assumed: 512) { range in
            asked += range.count
            return disk.read(range)
        }
        #expect(found != nil)
        #expect(asked == 8192 + 128 * 128)
    }

    /// Nothing traps, and what has no checksum of its own is no GPT.
    @Test func `random bytes around what makes a table`() {
        var random = RandomTest.generator(defaultSeed: 0x6B7)
        for round in 0..<RandomTest.events(default: 300) {
            let sectorSize: Int64 = [512, 1024, 2048, 4096].randomElement(using: &random)!
            var disk =
                round % 3 == 0
                ? DiskBytes.mbr(1 << 20, [(0x83, 1, 100), (0x05, 200, 300)])
                : DiskBytes.gpt(sectorSize, 1 << 20, [40...90])
            let places = [
                446..<512, Int(sectorSize)..<Int(sectorSize) + 96,
                2 * Int(sectorSize)..<2 * Int(sectorSize) + 256,
            ]
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let place = places.randomElement(using: &random)!.randomElement(using: &random)!
                disk.bytes[place] = [0, 0xff, UInt8.random(in: 0...255, using: &random)]
                    .randomElement(using: &random)!
            }
            // Half of them with checksums that are right, so that all else is looked at.
            if round % 2 == 0 { disk.seal(Int(sectorSize)) }
            disk.size = Int64.random(in: 0...1 << 20, using: &random)
            guard let table = disk.table() else { continue }
            #expect(
                table.partitions.allSatisfy { $0.lowerBound >= 0 && !$0.isEmpty },
                "\(random.replay)")
            for target in [512, 4096, nil] as [Int64?] {
                for size: Int64 in [disk.size, .max / 2] {
                    _ = PartitionTableNote(
                        table, from: .init(sectorSize: nil, size: disk.size, path: "s"),
                        to: .init(sectorSize: target, size: size, path: "t"))
                }
            }
        }
    }
}

/// The beginning of a disk that is made by hand.
struct DiskBytes {
    var bytes: [UInt8]
    var size: Int64

    func read(_ range: Range<Int64>) -> [UInt8]? {
        precondition(range.lowerBound >= 0 && range.upperBound <= size, "outside the disk")
        let start = min(Int(range.lowerBound), bytes.count)
        let part = bytes[start..<min(start + range.count, bytes.count)]
        return Array(part) + [UInt8](repeating: 0, count: range.count - part.count)
    }

    func table(assumed: Int64 = 512) -> PartitionTable? {
        PartitionTable.find(size: size, assumed: assumed, read: read)
    }

    mutating func set(_ number: UInt64, _ count: Int, at offset: Int) {
        for byte in 0..<count {
            bytes[offset + byte] = UInt8(truncatingIfNeeded: number >> (8 * byte))
        }
    }

    private func number(_ count: Int, at offset: Int) -> Int {
        (0..<count).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
    }

    mutating func setEntry(_ index: Int, _ type: UInt8, _ start: UInt64, _ count: UInt64) {
        let offset = 446 + 16 * index
        bytes[offset + 4] = type
        set(start, 4, at: offset + 8)
        set(count, 4, at: offset + 12)
    }

    static func mbr(_ size: Int64, _ entries: [(UInt8, UInt64, UInt64)]) -> DiskBytes {
        var disk = DiskBytes(bytes: [UInt8](repeating: 0, count: 64 << 10), size: size)
        disk.bytes[510] = 0x55
        disk.bytes[511] = 0xaa
        for (index, entry) in entries.enumerated() {
            disk.setEntry(index, entry.0, entry.1, entry.2)
        }
        return disk
    }

    static func gpt(
        _ sectorSize: Int64, _ size: Int64, _ partitions: [ClosedRange<Int64>]
    ) -> DiskBytes {
        let last = UInt64(size / sectorSize - 1)
        let list = UInt64((128 * 128 + sectorSize - 1) / sectorSize)
        var disk = mbr(size, [(0xee, 1, last)])
        let header = Int(sectorSize)
        disk.bytes.replaceSubrange(header..<header + 8, with: "EFI PART".utf8)
        for (offset, value) in [(8, 0x10000), (12, 92), (80, 128), (84, 128)] as [(Int, UInt64)] {
            disk.set(value, 4, at: header + offset)
        }
        let numbers: [(Int, UInt64)] = [
            (24, 1), (32, last), (40, 2 + list), (48, last - 1 - list), (72, 2),
        ]
        for (offset, value) in numbers { disk.set(value, 8, at: header + offset) }
        for (index, partition) in partitions.enumerated() {
            let entry = 2 * header + 128 * index
            for byte in 0..<32 { disk.bytes[entry + byte] = UInt8(byte + 1) }
            disk.set(UInt64(partition.lowerBound), 8, at: entry + 32)
            disk.set(UInt64(partition.upperBound), 8, at: entry + 40)
        }
        disk.seal(Int(sectorSize))
        return disk
    }

    /// Makes both checksums right, as far as what they are of is there.
    mutating func seal(_ header: Int) {
        let (start, length) = (
            number(4, at: header + 72) &* header,
            number(4, at: header + 80) &* number(4, at: header + 84)
        )
        if length > 0 && length < bytes.count && start < bytes.count - length {
            set(UInt64(Self.crc(bytes[start..<start + length])), 4, at: header + 88)
        }
        set(0, 4, at: header + 16)
        let size = number(4, at: header + 12)
        guard size < bytes.count - header else { return }
        set(UInt64(Self.crc(bytes[header..<header + size])), 4, at: header + 16)
    }

    /// With a table, as others do it, and not as the code under test.
    private static func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(UInt32.max) { crcTable[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
            ^ UInt32.max
    }

    private static let crcTable: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in
            value % 2 == 1 ? 0xedb8_8320 ^ value / 2 : value / 2
        }
    }
}
