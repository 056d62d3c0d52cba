internal import DirtyBitmap

/// Why a partition table that was copied does not serve on its new disk as it is, and what mends
/// that.
///
/// The copy is what it should be, byte for byte: nothing but the user's own command changes it.
public struct PartitionTableNote: Sendable, Hashable {
    /// What is wrong.
    public enum Problem: Sendable, Hashable {
        /// The table counts in sectors of another size than the target's, both in bytes, so that
        /// its partitions are not found there, or in wrong places.
        case otherSectors(table: Int64, target: Int64)
        /// The target is larger than the disk that the GPT was made for, and the GPT's second
        /// header is not at its end.
        case backupNotAtEnd
    }

    /// What is wrong.
    public let problem: Problem
    /// The same as a sentence, with the commands that help.
    public let text: String

    /// A side of the copy, as a partition table sees it.
    package struct Side: Sendable {
        /// In bytes. Nil for an image: whatever uses it decides that, and takes 512 if nothing else
        /// is said.
        package let sectorSize: Int64?
        let size: Int64
        /// The name for commands; nil where the bytes of the file are not those of the disk, so
        /// that only a machine that has it as a disk can run them.
        let path: String?
        /// The preference of the device, which a new table follows, in bytes.
        let optimalTransfer: Int64

        package init(sectorSize: Int64?, size: Int64, path: String?, optimalTransfer: Int64 = 0) {
            self.sectorSize = sectorSize
            self.size = size
            self.path = path
            self.optimalTransfer = optimalTransfer
        }

        /// What tools see of it.
        var seenSectorSize: Int64 { sectorSize ?? 512 }
    }

    /// What is wrong with a table that was copied from `source` to `target`; nil if nothing is, or
    /// if it was wrong on the source in the same way.
    package init?(_ table: PartitionTable, from source: Side, to target: Side) {
        let seen = target.seenSectorSize
        if table.sectorSize != seen && source.sectorSize != target.sectorSize {
            problem = .otherSectors(table: table.sectorSize, target: seen)
            text = Self.otherSectors(table, target)
        } else if let end = table.backupEnd, target.size > source.size,
            end < target.size / table.sectorSize * table.sectorSize
        {
            problem = .backupNotAtEnd
            text = Self.backupNotAtEnd(table, target)
        } else {
            return nil
        }
    }

    private static func otherSectors(_ table: PartitionTable, _ target: Side) -> String {
        let (counted, seen, disk) = (table.sectorSize, target.seenSectorSize, disk(target))
        let sectors =
            target.sectorSize == nil
            ? "an image is read in sectors of \(seen) unless something else is said"
            : "the target has sectors of \(seen)"
        let found = table.kind == .gpt ? "not found there" : "looked for in wrong places"
        var text =
            "the partition table counts in sectors of \(counted) bytes, and \(sectors): its "
            + "partitions are \(found). \(place(target))`\(loop(counted, disk))` names a loop "
            + "device that has them"
        if isConvertible(table, to: target) {
            text +=
                "; `sfdisk --dump /dev/loopN | sfdisk \(disk)` (util-linux 2.38.1 or newer) then "
                + "writes a table that fits, with which the target differs from the source"
        }
        if counted < seen {
            text += ". Filesystems with blocks of less than \(seen) bytes need the loop device"
        }
        return text
    }

    private static func backupNotAtEnd(_ table: PartitionTable, _ target: Side) -> String {
        let relocate = "sfdisk --relocate gpt-bak-std"
        let command =
            table.sectorSize == target.seenSectorSize
            ? "`\(relocate) \(disk(target))`"
            : "`\(loop(table.sectorSize, disk(target)))`, then `\(relocate) /dev/loopN`,"
        return "the target is larger than the disk that its partition table was made for, whose "
            + "backup is not at the end, where it is looked for. \(place(target))\(command) moves "
            + "it there; the target then differs from the source"
    }

    /// Whether a new table of the target can have these partitions where they are. Tools keep the
    /// first MiB free, or as much as the device likes best to move at once, and the end for the
    /// backup of a GPT.
    private static func isConvertible(_ table: PartitionTable, to target: Side) -> Bool {
        let unit = target.seenSectorSize
        guard !table.isCompound, PartitionTable.sectorSizes.contains(unit) else { return false }
        var end = target.size.roundedDown(to: unit)
        if table.kind == .gpt {
            let list = max(table.listBytes, 128 * 128)
            end -= list.roundedUp(to: unit) + unit
        }
        let start = max(1 << 20, target.optimalTransfer)
        return table.partitions.allSatisfy {
            $0.lowerBound % unit == 0 && $0.upperBound % unit == 0
                && $0.lowerBound >= start && $0.upperBound <= end
        }
    }

    private static func loop(_ sectorSize: Int64, _ disk: String) -> String {
        "losetup --find --show --partscan --sector-size \(sectorSize) \(disk)"
    }

    private static func disk(_ target: Side) -> String { target.path.map(word) ?? "DISK" }

    private static func place(_ target: Side) -> String {
        target.path == nil ? "In a machine that has the image as DISK, " : ""
    }

    /// A name as one word of a shell's command line.
    private static func word(_ name: String) -> String {
        let isPlain = name.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/._-+:@%,".utf8.contains($0)
            }
        }
        let isOption = name.hasPrefix("-")
        let path = isOption ? "./" + name : name
        return isPlain ? path : "'" + path.replacing("'", with: "'\\''") + "'"
    }
}
