import ChangeMap
import DirtyBitmap
import Testing

@Suite struct DdrescueTests {
    private static let head = "0x00000000 ? 1\n"

    @Test func `only finished blocks are skipped, and numbers are C's`() throws {
        let map = try ChangeMap.read(
            Self.head + "0 512 +\n0x200 01000 -\n1024 0x200 * # bad\n1536 512 /\n2048 2048 ?\n",
            size: 4096)
        #expect(map.lines == ["skip 0..<512", "copy 512..<4096"])
        #expect(map.warnings.isEmpty)
    }

    @Test func `a map that is too short leaves its end dirty, one that starts late its beginning`()
        throws
    {
        let map = try ChangeMap.read(Self.head + "512 512 +\n", size: 4096)
        #expect(map.lines == ["copy 0..<512", "skip 512..<1024", "copy 1024..<4096"])
        #expect(map.warnings.count == 2)
    }

    @Test func `a map without blocks says nothing, so that everything is dirty`() throws {
        #expect(try ChangeMap.read(Self.head, size: 4096).lines == ["copy 0..<4096"])
    }

    @Test(arguments: [
        ("0 512 +\n256 512 +\n", "line 3"), ("0 512 +\n1024 512 +\n", "from 512 to 1024"),
        ("512 512 +\n0 512 +\n", "line 3"),
    ])
    func `blocks follow each other`(blocks: String, word: String) {
        expectError(.misplaced, word) { () throws(ChangeMapError) in
            try ChangeMap.read(Self.head + blocks)
        }
    }

    @Test(arguments: [
        "0 512\n", "0 512 x\n", "0 512 + +\n", "0 09 +\n", "0 0xg +\n", "-1 512 +\n", "0 0 +\n",
        "0 9223372036854775808 +\n", "0 1K +\n",
    ])
    func `a damaged block is refused with its line`(block: String) {
        expectError(.malformed, "line 2") { () throws(ChangeMapError) in
            try ChangeMap.read(Self.head + block)
        }
    }

    @Test func `the largest offset stands for the end of the disk, others don't`() throws {
        let end = Int64.max
        let cut = try ChangeMap.read(Self.head + "0 512 +\n512 \(end - 512) -\n", size: 4096)
        #expect(cut.lines == ["skip 0..<512", "copy 512..<4096"])
        let done = try ChangeMap.read(Self.head + "0 4096 +\n4096 \(end - 4096) -\n", size: 4096)
        #expect(done.lines == ["skip 0..<4096"])
        expectError(.beyondDevice, "line 3") { () throws(ChangeMapError) in
            try ChangeMap.read(Self.head + "0 512 +\n512 \(end - 513) -\n", size: 4096)
        }
        expectError(.beyondDevice) { () throws(ChangeMapError) in
            try ChangeMap.read(Self.head + "0 512 +\n512 \(end) -\n", size: 4096)
        }
    }

    @Test func `without a word of who made it, two fields may be ddrescue's or partclone's`() throws
    {
        let text = "0x0 ?\n0 4096 +\n"
        expectError(.ambiguous, "ddrescue", "partclone") { () throws(ChangeMapError) in
            try ChangeMap.read(text, size: 4096)
        }
        let rescue = try ChangeMap.read(text, size: 4096, .init(format: .ddrescue))
        #expect(rescue.lines == ["skip 0..<4096"])
        let domain = try ChangeMap.read(text, size: 4096, .init(format: .partclone))
        #expect(domain.lines == ["copy 0..<4096"])
        let old = "# Rescue Logfile. Created by GNU ddrescue version 1.16\n" + text
        #expect(try ChangeMap.read(old, size: 4096).format == .ddrescue)
    }
}

@Suite struct DRBDTests {
    private let size: Int64 = 130992 * 512

    @Test func `an unclean dump is refused`() {
        let dump = Text.drbd08.replacing(
            "version \"v08\";\n",
            with: "version \"v08\";\n\n"
                + "This_is_an_unclean_meta_data_dump._Don't_trust_the_bitmap.\n")
        expectError(.untrustworthy, "line 8", "apply-al") { () throws(ChangeMapError) in
            try ChangeMap.read(dump, size: size)
        }
    }

    @Test func `one of several peers has to be named`() {
        expectError(.option(.peer), "1, 4") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.drbd09, size: size)
        }
        expectError(.option(.peer), "peer 2", "1, 4") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.drbd09, size: size, .init(peer: 2))
        }
    }

    @Test func `a single peer needs no name`() throws {
        let dump = Text.drbd09.replacing("bitmap-index 1;", with: "bitmap-index -1;")
        let map = try ChangeMap.read(dump, size: size)
        #expect(map.lines == ["copy 0..<4096", "copy 262144..<524288"])
    }

    @Test func `a dump in which no peer has a bitmap is refused`() {
        let dump = Text.drbd09.replacing("bitmap-index 1;", with: "bitmap-index -1;")
            .replacing("bitmap-index 0;", with: "bitmap-index -1;")
        expectError(.unsupported, "no bitmap of a peer") { () throws(ChangeMapError) in
            try ChangeMap.read(dump, size: size)
        }
    }

    @Test func `a full synchronisation that is due makes everything dirty`() throws {
        let dump = Text.drbd08.replacing("flags 0x00000000;", with: "flags 0x00000008;")
        let map = try ChangeMap.read(dump, size: size)
        #expect(map.lines == ["copy 0..<\(size)"])
        #expect(map.warnings.contains { $0.contains("full synchronisation") })
    }

    @Test func `a bitmap shorter than the disk is refused`() {
        let dump = Text.drbd08.replacing("508 times", with: "200 times")
        expectError(.malformed, "shorter") { () throws(ChangeMapError) in
            try ChangeMap.read(dump, size: size)
        }
    }

    @Test func `repeated words with some bits set are spread out, and bits behind the end are not`()
        throws
    {
        let dump = """
            version "v08";
            la-size-sect 1040;
            bm-byte-per-bit 4096;
            bm { 99999999999 times 0xC000000000000001; }

            """
        let map = try ChangeMap.read(dump, size: 1040 * 512)
        #expect(map.lines == ["copy 0..<4096", "copy 253952..<266240", "copy 516096..<528384"])
    }

    @Test func `there are 32 peers at most`() {
        let dump = Text.drbd09.replacing("peer[4]", with: "peer[32]")
        expectError(.malformed, "peer 32") { () throws(ChangeMapError) in
            try ChangeMap.read(dump, size: size)
        }
    }

    @Test func `other versions are refused by name`() {
        expectError(.unsupported, "v07", "v08") { () throws(ChangeMapError) in
            try ChangeMap.read("version \"v07\";\nbm { }\n")
        }
    }
}

@Suite struct FilefragTests {
    @Test func `hexadecimal tables and several files are refused`() {
        let hex = Text.filefrag.replacing("95:   11855936..  11855967:     32:", with: "7f: a: 40:")
        expectError(.malformed, "line 4", "-X") { () throws(ChangeMapError) in
            try ChangeMap.read(hex)
        }
        expectError(.unsupported, "another file") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.filefrag + Text.filefrag)
        }
    }

    @Test func `extents behind the end of the file are cut`() throws {
        let text = """
            Filesystem type is: ef53
            File size of a b (#c).img is 5000 (2 blocks of 4096 bytes)
             ext:     logical_offset:        physical_offset: length:   expected: flags:
               0:        1..       3:          9..        11:      3:             last,unwritten,eof
            a b (#c).img: 1 extent found

            """
        let map = try ChangeMap.read(text, size: 5000)
        #expect(map.lines == ["copy 4096..<5000"])
        #expect(map.deviceSize == 5000)
    }

    @Test func `a row whose ends and length disagree is refused`() {
        let text = Text.filefrag.replacing("     32: ", with: "     31: ")
        expectError(.malformed, "64 to 95 are not 31") { () throws(ChangeMapError) in
            try ChangeMap.read(text)
        }
    }
}

@Suite struct RangeListTests {
    @Test func `numbers may have units`() throws {
        let map = try ChangeMap.read("1m 1K\n0x10 16\n2G 1g\n", size: 1 << 40)
        #expect(
            map.lines == [
                "copy 16..<32", "copy 1048576..<1049600", "copy 2147483648..<3221225472",
            ])
    }

    @Test func `overlaps are refused, also out of order`() {
        for text in ["0 512\n256 512\n", "256 512\n0 512\n", "0 512\n0 512\n"] {
            expectError(.misplaced, "overlaps", "line 2") { () throws(ChangeMapError) in
                try ChangeMap.read(text)
            }
        }
    }

    @Test func `a last line without an end is refused`() {
        expectError(.malformed, "newline") { () throws(ChangeMapError) in
            try ChangeMap.read("0 512\n1024 51")
        }
    }

    @Test func `nothing at all isn't an empty list`() throws {
        expectError(.malformed, "empty") { () throws(ChangeMapError) in
            try ChangeMap.read("", .init(format: .ranges))
        }
        expectError(.unrecognized, "ranges") { () throws(ChangeMapError) in
            try ChangeMap.read("# nothing\n")
        }
        let map = try ChangeMap.read("# nothing\n", .init(format: .ranges))
        #expect(map.extents.isEmpty)
        #expect(map.warnings.contains { $0.contains("nothing at all changed") })
    }
}

@Suite struct RingmirrorExportTests {
    @Test func `the bitmap's name and granularity come back`() throws {
        let name = "Größe #1 100%\n\t"
        let bitmap = DirtyBitmap(size: 100_000, granularity: try Granularity(bytes: 4096))
        let bytes = try ChangeMap.write(bitmap, format: .ringmirror, name: name)
        let map = try ChangeMap.read(bytes, name: "x", deviceSize: 100_000)
        #expect(map.name == name)
        #expect(map.granularity?.bytes == 4096)
        #expect(map.deviceSize == 100_000)
        #expect(map.format == .ringmirror)
    }

    @Test(arguments: [
        ("end 2", "has 1 ranges"), ("end", "number of ranges"), ("", "'end COUNT'"),
        ("end 1\n0 512", "follows the last line"),
    ])
    func `the last line proves completeness`(end: String, word: String) {
        let text = "ringmirror bitmap 1\nsize 4096\ngranularity 512\n0 512\n\(end)\n"
        expectError(.malformed, word) { () throws(ChangeMapError) in
            try ChangeMap.read(text, size: 4096)
        }
    }

    @Test func `damaged headers are refused`() {
        for text in [
            "size 4096\n", "size x\ngranularity 512\n", "size 4096\ngranularity 513\n",
            "name %zz\nsize 4096\ngranularity 512\n", "name %FF\nsize 4096\ngranularity 512\n",
            "name\nsize 4096\ngranularity 512\n", "granularity 512\nsize 4096\n",
        ] {
            expectError(.malformed) { () throws(ChangeMapError) in
                try ChangeMap.read("ringmirror bitmap 1\n\(text)end 0\n", size: 4096)
            }
        }
        expectError(.unsupported, "later version") { () throws(ChangeMapError) in
            try ChangeMap.read("ringmirror bitmap 2\nsize 4096\n", size: 4096)
        }
    }
}
