/// The partition table at the beginning of a disk: what matters for whether it is found on another
/// disk, and for whether its partitions can be put into a table for that one.
///
/// A table counts in sectors. Copied to a disk whose sectors are larger or smaller, it is looked
/// for in another place, or its numbers mean other places.
package struct PartitionTable: Sendable, Equatable {
    /// How partitions are written down.
    package enum Kind: Sendable, Equatable {
        case gpt
        case mbr
    }

    package let kind: Kind
    /// The bytes of the sectors that it counts in.
    package let sectorSize: Int64
    /// Where the partitions are, in bytes.
    package let partitions: [Range<Int64>]
    /// Whether there is more to it than a list of partitions: logical ones in an extended one, or
    /// an MBR beside a GPT.
    package let isCompound: Bool
    /// A GPT has a second header, in the last sector of the disk that it was made for. Where that
    /// sector ends, in bytes.
    package let backupEnd: Int64?
    /// The bytes of a GPT's list of partitions.
    package let listBytes: Int64

    /// Sizes of sectors that disks and loop devices have.
    static let sectorSizes: [Int64] = [512, 1024, 2048, 4096]
    /// A GPT of 512 partitions. What has more is not looked at.
    fileprivate static let listBytesMax: Int64 = 64 << 10

    /// The table of a disk; nil if there is none, or none that can be relied on.
    ///
    /// - Parameters:
    ///   - size: of the disk, in bytes.
    ///   - assumed: what an MBR counts in, which it does not say.
    ///   - read: the bytes of a range inside the disk; nil if they can't be had. At most 8 KiB
    ///     are asked for, and of a GPT its list of partitions.
    package static func find(
        size: Int64, assumed: Int64, read: (Range<Int64>) -> [UInt8]?
    ) -> PartitionTable? {
        let length = min(size, 2 * (sectorSizes.last ?? 0))
        guard length >= 512, let head = read(0..<length), head.count == length,
            let entries = BootRecord.entries(head)
        else { return nil }
        guard entries.contains(where: \.isProtective) else {
            return BootRecord.table(entries, assumed, size: size)
        }
        let isHybrid = entries.contains { !$0.isProtective }
        for sectorSize in sectorSizes {
            guard let header = GPTHeader(head, sectorSize: sectorSize),
                let list = header.listRange(size: size).flatMap(read),
                let partitions = header.partitions(in: list)
            else { continue }
            return PartitionTable(
                kind: .gpt, sectorSize: sectorSize, partitions: partitions,
                isCompound: isHybrid, backupEnd: header.backupEnd, listBytes: header.listBytes)
        }
        return nil
    }
}

/// The first sector of a disk that has a table of the old kind, or one that protects a GPT.
private enum BootRecord {
    struct Entry {
        let type: UInt8
        let start: Int64
        let count: Int64

        /// What a GPT is hidden behind from programs that don't know it.
        var isProtective: Bool { type == 0xee }
        /// Has a chain of further tables in it.
        var isExtended: Bool { [0x05, 0x0f, 0x85].contains(type) }
    }

    /// The partitions that it names; nil if it is no partition table. File systems begin with such
    /// a sector too, and have code or text where it has entries.
    static func entries(_ head: [UInt8]) -> [Entry]? {
        guard head[510] == 0x55, head[511] == 0xaa, !isFileSystem(head) else { return nil }
        var entries: [Entry] = []
        for offset in stride(from: 446, to: 510, by: 16) {
            guard head[offset] & 0x7f == 0 else { return nil }
            let entry = Entry(
                type: head[offset + 4], start: Int64(head.number(4, at: offset + 8)),
                count: Int64(head.number(4, at: offset + 12)))
            if entry.type == 0 { continue }
            guard entry.count > 0 else { return nil }
            entries.append(entry)
        }
        return entries.isEmpty ? nil : entries
    }

    private static func isFileSystem(_ head: [UInt8]) -> Bool {
        let marks: [(Int, String)] = [
            (3, "NTFS    "), (3, "EXFAT   "), (3, "-FVE-FS-"), (54, "FAT"), (82, "FAT32"),
        ]
        return marks.contains { head.dropFirst($0.0).starts(with: $0.1.utf8) }
    }

    static func table(_ entries: [Entry], _ sectorSize: Int64, size: Int64) -> PartitionTable? {
        let partitions = entries.map {
            $0.start * sectorSize..<($0.start + $0.count) * sectorSize
        }
        guard partitions.allSatisfy({ $0.upperBound <= size }) else { return nil }
        return PartitionTable(
            kind: .mbr, sectorSize: sectorSize, partitions: partitions,
            isCompound: entries.contains(where: \.isExtended), backupEnd: nil, listBytes: 0)
    }
}

/// The header of a GPT in the second sector of a disk, and the list of partitions that it leads to.
/// Both have checksums: what does not agree with its own is none.
private struct GPTHeader {
    private let sectorSize: Int64
    private let usable: ClosedRange<Int64>
    private let listStart: Int64
    private let entryCount: Int64
    private let entrySize: Int64
    private let listChecksum: UInt32
    let backupEnd: Int64

    var listBytes: Int64 { entryCount * entrySize }

    init?(_ head: [UInt8], sectorSize: Int64) {
        let bytes = head.dropFirst(Int(sectorSize)).prefix(Int(sectorSize))
        guard bytes.count == sectorSize, bytes.starts(with: "EFI PART".utf8) else { return nil }
        let header = Array(bytes)
        let length = Int(header.number(4, at: 12))
        guard header.number(4, at: 8) == 0x0001_0000, length >= 92, length <= header.count
        else { return nil }
        var checked = header.prefix(length)
        checked.replaceSubrange(16..<20, with: [0, 0, 0, 0])
        guard CRC32.checksum(of: checked) == UInt32(header.number(4, at: 16)),
            header.number(8, at: 24) == 1
        else { return nil }
        // No number of a sector is so large that its offset in bytes does not fit.
        let sector = { (offset: Int) -> Int64? in
            let number = header.number(8, at: offset)
            return number < UInt64(Int64.max / sectorSize) ? Int64(number) : nil
        }
        guard let backup = sector(32), let first = sector(40), let last = sector(48),
            let list = sector(72), first <= last
        else { return nil }
        self.sectorSize = sectorSize
        usable = first...last
        listStart = list * sectorSize
        entryCount = Int64(header.number(4, at: 80))
        entrySize = Int64(header.number(4, at: 84))
        listChecksum = UInt32(header.number(4, at: 88))
        backupEnd = (backup + 1) * sectorSize
        // The product of two such numbers need not fit.
        guard entryCount > 0, entrySize >= 128, entrySize % 128 == 0,
            entryCount <= PartitionTable.listBytesMax / entrySize
        else { return nil }
    }

    func listRange(size: Int64) -> Range<Int64>? {
        guard listStart > sectorSize, listStart <= size - listBytes else { return nil }
        return listStart..<listStart + listBytes
    }

    /// The partitions of the list; nil if it is not the one that belongs to the header.
    func partitions(in list: [UInt8]) -> [Range<Int64>]? {
        guard list.count == listBytes, CRC32.checksum(of: list) == listChecksum else { return nil }
        var found: [Range<Int64>] = []
        for entry in stride(from: 0, to: list.count, by: Int(entrySize)) {
            if list[entry..<entry + 16].allSatisfy({ $0 == 0 }) { continue }
            guard let first = Int64(exactly: list.number(8, at: entry + 32)),
                let last = Int64(exactly: list.number(8, at: entry + 40)),
                first <= last, usable.contains(first), usable.contains(last)
            else { return nil }
            found.append(first * sectorSize..<(last + 1) * sectorSize)
        }
        return found
    }
}

extension [UInt8] {
    /// A number of so many bytes, least significant first.
    fileprivate func number(_ count: Int, at offset: Int) -> UInt64 {
        self[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
