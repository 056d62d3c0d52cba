import Testing

@testable import BlockStorage

/// What is said of a table that was copied follows from the table and both sides alone.
@Suite struct PartitionTableNoteTests {
    typealias Side = PartitionTableNote.Side
    static let size: Int64 = 64 << 20

    private func disk(
        _ sectorSize: Int64, _ size: Int64 = Self.size, _ path: String = "/dev/sdb",
        optimal: Int64 = 0
    ) -> Side {
        Side(sectorSize: sectorSize, size: size, path: path, optimalTransfer: optimal)
    }

    private func image(_ size: Int64 = Self.size, isRaw: Bool = true) -> Side {
        Side(sectorSize: nil, size: size, path: isRaw ? "/srv/vm.img" : nil)
    }

    private func gpt(
        _ sectorSize: Int64, _ partitions: Range<Int64>..., isCompound: Bool = false
    ) -> PartitionTable {
        PartitionTable(
            kind: .gpt, sectorSize: sectorSize, partitions: partitions, isCompound: isCompound,
            backupEnd: Self.size, listBytes: 128 * 128)
    }

    private func mbr(_ sectorSize: Int64, isCompound: Bool = false) -> PartitionTable {
        PartitionTable(
            kind: .mbr, sectorSize: sectorSize, partitions: [1 << 20..<2 << 20],
            isCompound: isCompound, backupEnd: nil, listBytes: 0)
    }

    @Test(arguments: [(512, 4096), (4096, 512), (512, 2048)])
    func `sectors of another size`(counted: Int64, seen: Int64) {
        for table in [gpt(counted), mbr(counted)] {
            for source in [disk(counted), image()] {
                let note = PartitionTableNote(table, from: source, to: disk(seen))
                #expect(note?.problem == .otherSectors(table: counted, target: seen))
                #expect(PartitionTableNote(table, from: source, to: disk(counted)) == nil)
            }
            // It was no better on the source, and has not become worse.
            #expect(PartitionTableNote(table, from: disk(seen), to: disk(seen)) == nil)
            #expect(PartitionTableNote(table, from: disk(seen), to: disk(counted)) == nil)
            #expect(PartitionTableNote(table, from: image(), to: image()) == nil)
        }
    }

    @Test func `an image is a disk of 512-byte sectors to most`() {
        let note = PartitionTableNote(gpt(4096), from: disk(4096), to: image())
        #expect(note?.problem == .otherSectors(table: 4096, target: 512))
        #expect(PartitionTableNote(gpt(512), from: disk(512), to: image()) == nil)
        let inside = PartitionTableNote(gpt(4096), from: disk(4096), to: image(isRaw: false))
        #expect(inside?.text.contains("--sector-size 4096 DISK`") == true)
    }

    @Test func `a larger target has the backup of a GPT in its middle`() {
        for target in [disk(512, Self.size + 512), image(Self.size + 512)] {
            let note = PartitionTableNote(gpt(512), from: disk(512), to: target)
            #expect(note?.problem == .backupNotAtEnd)
            #expect(PartitionTableNote(mbr(512), from: disk(512), to: target) == nil)
            // There it was not at the end either, or is now.
            let grown = disk(512, target.size)
            #expect(PartitionTableNote(gpt(512), from: grown, to: target) == nil)
            let shrunk = disk(512, Self.size / 2)
            #expect(PartitionTableNote(gpt(512), from: shrunk, to: disk(512)) == nil)
        }
        // What is no whole sector is no place for a header.
        #expect(PartitionTableNote(gpt(512), from: image(), to: image(Self.size + 511)) == nil)
        let note = PartitionTableNote(gpt(512), from: disk(512), to: disk(512, 2 * Self.size))
        #expect(note?.text.contains("`sfdisk --relocate gpt-bak-std /dev/sdb`") == true)
        let other = PartitionTableNote(gpt(4096), from: image(), to: image(2 * Self.size))
        #expect(other?.problem == .backupNotAtEnd)
        #expect(other?.text.contains("--sector-size 4096 /srv/vm.img`, then `sfdisk") == true)
        // A new table has its backup where it belongs.
        let both = PartitionTableNote(gpt(512), from: disk(512), to: disk(4096, 2 * Self.size))
        #expect(both?.problem == .otherSectors(table: 512, target: 4096))
    }

    @Test func `a new table is offered only where it can have these partitions`() {
        func isOffered(_ table: PartitionTable, to target: Side) -> Bool? {
            PartitionTableNote(table, from: image(), to: target)?.text.contains("sfdisk --dump")
        }
        let mebi: Int64 = 1 << 20
        let end4096 = Self.size - 5 * 4096
        #expect(isOffered(gpt(512, mebi..<end4096), to: disk(4096)) == true)
        #expect(isOffered(gpt(512, mebi..<2 * mebi, 3 * mebi..<end4096), to: disk(4096)) == true)
        #expect(isOffered(gpt(512, mebi..<end4096 + 4096), to: disk(4096)) == false)
        #expect(isOffered(gpt(512, mebi..<end4096 - 512), to: disk(4096)) == false)
        #expect(isOffered(gpt(512, mebi + 512..<2 * mebi), to: disk(4096)) == false)
        #expect(isOffered(gpt(512, mebi - 4096..<2 * mebi), to: disk(4096)) == false)
        #expect(isOffered(gpt(512, mebi..<2 * mebi, isCompound: true), to: disk(4096)) == false)
        let wide = disk(4096, optimal: 2 * mebi)
        #expect(isOffered(gpt(512, mebi..<2 * mebi), to: wide) == false)
        #expect(isOffered(gpt(512, 2 * mebi..<4 * mebi), to: wide) == true)
        #expect(isOffered(gpt(4096, mebi..<end4096), to: disk(512)) == true)
        #expect(isOffered(mbr(512), to: disk(4096)) == true)
        #expect(isOffered(mbr(512, isCompound: true), to: disk(4096)) == false)
    }

    @Test func `names are words of a command line, whatever is in them`() {
        func word(_ path: String) -> String? {
            let target = disk(512, 2 * Self.size, path)
            let text = PartitionTableNote(gpt(512), from: image(), to: target)?.text
            return text?.split(separator: "gpt-bak-std ").last?.split(separator: "` ").first
                .map(String.init)
        }
        #expect(word("/dev/disk/by-id/a-b_c:1") == "/dev/disk/by-id/a-b_c:1")
        #expect(word("my disk") == "'my disk'")
        #expect(word("a'b") == "'a'\\''b'")
        #expect(word("$(x)") == "'$(x)'")
        #expect(word("-f") == "./-f")
    }
}
