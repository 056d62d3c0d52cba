import ChangeMap
import Testing

@Suite struct XMLTests {
    @Test func `document types, and what comes with them, are refused`() {
        let bomb = """
            <?xml version="1.0"?><!DOCTYPE blocks [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>
            <blocks><block block="&b;"/></blocks>
            """
        let external = """
            <!DOCTYPE blocks SYSTEM "file:///etc/hostname"><blocks><block block="1"/></blocks>
            """
        for text in [bomb, external, "<blocks><![CDATA[<block/>]]></blocks>"] {
            expectError(.unsupported, "line 1", "document type") { () throws(ChangeMapError) in
                try ChangeMap.read(text, .init(format: .era, blockSize: 4096))
            }
        }
    }

    @Test(arguments: [
        "<blocks>", "<blocks></block>", "<blocks/><blocks/>", "<blocks/>x", "x<blocks/>",
        "<blocks", "<blocks/", "<blocks a/>", "<blocks a=1/>", "<blocks a='1/>",
        "<blocks a='<'/>", "<blocks a='1' a='2'/>", "<blocks><!-- </blocks>", "<?xml <blocks/>",
        "< blocks/>", "<blocks></ blocks>", "<blocks></blocks x>", "<", "<>", " ", "</blocks>",
        "<\u{0}b\u{0}l\u{0}", "<blocks a b='1'/>", "<blocks/ >", "<'/>",
    ])
    func `what isn't well-formed is refused`(text: String) {
        expectError(.malformed, "line 1") { () throws(ChangeMapError) in
            try ChangeMap.read(text, .init(format: .era, blockSize: 4096))
        }
    }

    @Test(arguments: [
        "<blocks/>", "\u{FEFF}<blocks></blocks >\n", "<blocks\n>\n\n</blocks\t>",
        "<blocks a = '1' b=\">\"/>",
        "<?xml version='1.0'?><!-- <a> -- > --><blocks><!-- --></blocks><!---->",
    ])
    func `what is well-formed is read, however it is laid out`(text: String) throws {
        let map = try ChangeMap.read(text, .init(blockSize: 4096))
        #expect(map.format == .era)
        #expect(map.extents.isEmpty)
    }

    @Test func `bytes that aren't text are an error like any other`() {
        var bytes = Array("<blocks><bl".utf8) + [0xFF, 0xFE, 0x80, 0]
        bytes += Array("ock block='1'/></blocks>".utf8)
        let input = bytes
        expectError(.malformed, "isn't expected") { () throws(ChangeMapError) in
            try ChangeMap.read(
                input, name: "map", deviceSize: 1 << 24,
                options: .init(format: .era, blockSize: 4096))
        }
    }

    @Test func `deep nesting is refused, not followed`() {
        let text = String(repeating: "<blocks>", count: 100_000)
        expectError(.malformed) { () throws(ChangeMapError) in
            try ChangeMap.read(text, .init(format: .era, blockSize: 4096))
        }
    }

    @Test func `elements that a format doesn't have are refused with their line`() {
        for (text, format) in [
            ("<blocks>\n<blok block=\"1\"/></blocks>", ChangeMapFormat.era),
            ("<blocks>\n<block><block block=\"1\"/></block></blocks>", .era),
            ("<superblock data_block_size=\"128\">\n<diff><new begin=\"1\"/>", .thinDelta),
            ("<superblock data_block_size=\"128\">\n<snapshot/>", .thinDump),
            ("<bmap version=\"2.0\">\n<a><b/></a>", .bmap),
        ] {
            expectError(.malformed, "line 2") { () throws(ChangeMapError) in
                try ChangeMap.read(text, .init(format: format, blockSize: 4096))
            }
        }
    }
}

@Suite struct EraTests {
    private let options = ChangeMapOptions(blockSize: 1 << 20)

    @Test func `the block size has to be given`() {
        for size in [nil, 0, -1] as [Int64?] {
            expectError(.option(.blockSize), "dmsetup table") { () throws(ChangeMapError) in
                try ChangeMap.read(Text.era1, .init(blockSize: size))
            }
        }
    }

    @Test func `old versions miss blocks, so that each map has a warning`() throws {
        let map = try ChangeMap.read(Text.era09, .init(blockSize: 65536))
        #expect(map.warnings.contains { $0.contains("1.3.3") })
    }

    @Test func `the last block may be short, but nothing lies behind it`() throws {
        let text = "<blocks><block block=\"16\"/></blocks>"
        let map = try ChangeMap.read(text, size: 1 << 24 + 512, options)
        #expect(map.lines == ["copy 16777216..<16777728"])
        expectError(.beyondDevice, "line 1") { () throws(ChangeMapError) in
            try ChangeMap.read(text, size: 1 << 24, options)
        }
    }

    @Test(arguments: [
        "<range begin=\"3\" end=\"3\"/>", "<range begin=\"4\" end=\"3\"/>", "<block/>",
        "<block block=\"-1\"/>", "<block block=\"1x\"/>", "<block block=\"0x1\"/>",
        "<block block=\"99999999999999999999\"/>", "<range begin=\"1\"/>",
    ])
    func `damaged entries are refused`(entry: String) {
        expectError(.malformed, "line 1") { () throws(ChangeMapError) in
            try ChangeMap.read("<blocks>\(entry)</blocks>", options)
        }
    }

    @Test func `blocks that overflow are past the end`() {
        for entry in [
            "<block block=\"\(Int64.max)\"/>", "<range begin=\"0\" end=\"\(Int64.max)\"/>",
        ] {
            expectError(.beyondDevice) { () throws(ChangeMapError) in
                try ChangeMap.read("<blocks>\(entry)</blocks>", options)
            }
        }
    }
}

@Suite struct ThinTests {
    private func delta(_ entries: String) -> String {
        "<superblock data_block_size=\"128\"><diff left=\"1\" right=\"2\">\(entries)</diff>"
            + "</superblock>"
    }

    @Test func `what only the left device has becomes zero`() throws {
        let map = try ChangeMap.read(delta("<left_only begin=\"1\" length=\"2\"/>"))
        #expect(map.lines == ["zero 65536..<196608"])
        let verbose = delta(
            "<left_only><range begin=\"1\" data_begin=\"7\" length=\"2\"/></left_only>")
        #expect(try ChangeMap.read(verbose).extents == map.extents)
    }

    @Test func `a file without a comparison, or with two, is refused`() {
        for text in [
            "<superblock data_block_size=\"128\"/>",
            "<superblock data_block_size=\"128\"><diff/><diff/></superblock>",
            "<superblock data_block_size=\"0\"><diff/></superblock>",
            "<superblock data_block_size=\"\(Int64.max)\"><diff/></superblock>",
            "<superblock><diff/></superblock>",
        ] {
            expectError(.malformed) { () throws(ChangeMapError) in
                try ChangeMap.read(text, .init(format: .thinDelta))
            }
        }
    }

    @Test func `one of several devices has to be named`() {
        expectError(.option(.thinDevice), "1 and 2", "dev_id") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.thinDump)
        }
        expectError(.option(.thinDevice), "no device 3", "1, 2") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.thinDump, .init(thinDevice: 3))
        }
    }

    @Test func `shared mappings are followed, and only once for each device`() throws {
        let shared = """
            <superblock data_block_size="128">
              <def name="a"><range_mapping origin_begin="2" data_begin="0" length="3"/></def>
              <device dev_id="1">
                <single_mapping origin_block="0" data_block="9" time="0"/><ref name="a"/>
              </device>
              <device dev_id="2"><ref name="a"/><ref name="a"/></device>
              <device dev_id="3"><ref name="b"/></device>
            </superblock>
            """
        let map = try ChangeMap.read(shared, .init(thinDevice: 1))
        #expect(map.lines == ["copy 0..<65536", "copy 131072..<327680"])
        expectError(.misplaced, "line 6") { () throws(ChangeMapError) in
            try ChangeMap.read(shared, .init(thinDevice: 2))
        }
        expectError(.malformed, "line 7", "<def>") { () throws(ChangeMapError) in
            try ChangeMap.read(shared, .init(thinDevice: 3))
        }
    }

    @Test func `metadata of other targets is refused`() {
        let text = "<superblock block_size=\"128\" nr_blocks=\"10\" current_era=\"5\"></superblock>"
        expectError(.unsupported, "era_invalidate") { () throws(ChangeMapError) in
            try ChangeMap.read(text)
        }
    }
}

@Suite struct BmapTests {
    @Test(arguments: [Text.bmap, Text.bmap13])
    func `damage shows in the checksum`(text: String) {
        let damaged = text.replacing("<Range", with: "<Range ", maxReplacements: 1)
        expectError(.untrustworthy, "checksum") { () throws(ChangeMapError) in
            try ChangeMap.read(damaged)
        }
    }

    @Test func `other checksums and versions can't be checked`() {
        let md5 = Text.bmap.replacing("sha256", with: "md5")
        expectError(.unsupported, "md5") { () throws(ChangeMapError) in try ChangeMap.read(md5) }
        for version in ["1.1", "3.0", "2", "", "x.y", "-1.4"] {
            let text = Text.bmap.replacing("version=\"2.0\"", with: "version=\"\(version)\"")
            expectError(.unsupported, "1.2 to 2.0") { () throws(ChangeMapError) in
                try ChangeMap.read(text)
            }
        }
    }

    @Test func `version 1_2 has no checksum, and its map a warning`() throws {
        let map = try ChangeMap.read(Text.bmap12, size: 10000)
        #expect(map.warnings.contains { $0.contains("checksum") })
    }

    @Test(arguments: [
        ("<Range> 2", "<Range> 3", ChangeMapError.Kind.beyondDevice),
        ("<Range> 2", "<Range> 2-1", .malformed), ("<Range> 2", "<Range> 1-2", .malformed),
        ("<Range> 2", "<Range> 1-2-3", .malformed), ("<Range> 2", "<Range> a", .malformed),
        ("<Range> 2", "<Range> 0-9223372036854775807", .malformed),
        ("<BlocksCount> 3", "<BlocksCount> 4", .malformed), ("> 4096 <", "> 0 <", .malformed),
        ("<BlockSize> 4096 </BlockSize>", "", .malformed),
        ("> 10000 <", "> 10000 10000 <", .malformed),
    ])
    func `numbers that don't fit together are refused`(
        old: String, new: String, kind: ChangeMapError.Kind
    ) {
        expectError(kind) { () throws(ChangeMapError) in
            try ChangeMap.read(Text.bmap12.replacing(old, with: new), size: 10000)
        }
    }
}

@Suite struct QemuTests {
    @Test func `the map of a dirty bitmap isn't taken for one of data`() throws {
        expectError(.ambiguous, "entry 2", "x-dirty-bitmap", "qemu-dirty or qemu-map") {
            () throws(ChangeMapError) in try ChangeMap.read(Text.qemuDirty)
        }
        let map = try ChangeMap.read(Text.qemuDirty, .init(format: .qemuMap))
        #expect(map.lines == ["copy 0..<16777216"])
        #expect(map.warnings.contains { $0.contains("qemu-dirty") })
    }

    @Test func `the map of data isn't taken for one of a dirty bitmap`() {
        expectError(.ambiguous, "entry 1", "qemu-map") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.qemuRaw, .init(format: .qemuDirty))
        }
    }

    @Test func `sizes rounded up to sectors are cut, and empty images are no puzzle`() throws {
        let text = "[{ \"start\": 0, \"length\": 1024, \"zero\": true, \"data\": false}]"
        #expect(try ChangeMap.read(text, size: 1000).lines == ["zero 0..<1000"])
        expectError(.beyondDevice, "entry 1") { () throws(ChangeMapError) in
            try ChangeMap.read(text, size: 512)
        }
        let empty = "[{ \"start\": 0, \"length\": 0, \"zero\": false, \"data\": false}]"
        #expect(try ChangeMap.read(empty, size: 0).extents.isEmpty)
    }

    @Test func `compressed and whatever else comes is passed over`() throws {
        let text =
            "[{\"start\":0,\"length\":512,\"depth\":0,\"present\":true,\"zero\":false,"
            + "\"data\":true,\"compressed\":true,\"later\":[{}]}]"
        #expect(try ChangeMap.read(text, size: 512).lines == ["copy 0..<512"])
    }

    @Test(arguments: [
        ("[{\"start\":0,\"length\":512,\"data\":true}]", "'zero' in entry 1"),
        ("[{\"start\":0,\"length\":-512,\"zero\":true,\"data\":true}]", "entry 1"),
        ("[{\"start\":0,\"length\":1e30,\"zero\":true,\"data\":true}]", "too large"),
        ("[{\"start\":\"0\",\"length\":512,\"zero\":true,\"data\":true}]", "'start'"),
        ("[{\"start\":0,\"length\":512,\"zero\":true,\"data\":true}", "well-formed"),
    ])
    func `damaged lists are refused`(text: String, word: String) {
        expectError(.malformed, word) { () throws(ChangeMapError) in try ChangeMap.read(text) }
    }

    @Test func `the output for people is refused`() {
        expectError(.unsupported, "--output=json") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.qemuHuman)
        }
    }
}

@Suite struct NBDInfoTests {
    @Test func `a type without a description that is known needs a name`() throws {
        let text = "0 512 1 something\n"
        expectError(.ambiguous, "nbdinfo or nbdinfo-dirty") { () throws(ChangeMapError) in
            try ChangeMap.read(text, size: 512)
        }
        let dirty = try ChangeMap.read(text, size: 512, .init(format: .nbdinfoDirty))
        #expect(dirty.lines == ["copy 0..<512"])
        let silent = "[{\"offset\":0,\"length\":512,\"type\":0}]"
        let clean = try ChangeMap.read(silent, size: 512, .init(format: .nbdinfoDirty))
        #expect(clean.lines == ["skip 0..<512"])
        let data = try ChangeMap.read(silent, size: 512, .init(format: .nbdinfo))
        #expect(data.lines == ["copy 0..<512"])
    }

    @Test func `a description that contradicts is believed more than the name`() {
        expectError(.ambiguous, "nbdinfo-dirty") { () throws(ChangeMapError) in
            try ChangeMap.read("0 512 1 dirty\n", size: 512, .init(format: .nbdinfo))
        }
        expectError(.ambiguous, "line 2") { () throws(ChangeMapError) in
            try ChangeMap.read("0 512 1 dirty\n512 512 0 data\n", size: 1024)
        }
    }

    @Test func `a hole that isn't said to be zero is copied`() throws {
        let map = try ChangeMap.read("0 512 1 hole\n512 512 2 zero\n", size: 1024)
        #expect(map.lines == ["copy 0..<512", "zero 512..<1024"])
    }

    @Test func `depths, sums and unknown types are refused`() {
        expectError(.unsupported, "allocation-depth") { () throws(ChangeMapError) in
            try ChangeMap.read("0 512 2 backing depth 2\n")
        }
        expectError(.unsupported, "--totals") { () throws(ChangeMapError) in
            try ChangeMap.read("[{ \"size\": 512, \"percent\": 100, \"type\": 0}]")
        }
        expectError(.unsupported, "--totals") { () throws(ChangeMapError) in
            try ChangeMap.read("    100000 100.0%   3 hole,zero\n")
        }
        expectError(.malformed, "type 4") { () throws(ChangeMapError) in
            try ChangeMap.read("0 512 4 data\n")
        }
    }
}

@Suite struct RBDDiffTests {
    private func read(_ bytes: [UInt8], size: Int64 = 1 << 20) throws(ChangeMapError) -> ChangeMap {
        try ChangeMap.read(bytes, name: "diff", deviceSize: size)
    }

    @Test(arguments: [1, 2])
    func `without a snapshot to start from, what is missing was never written`(version: Int) throws
    {
        #expect(try read(RBDBuilder.typical(version: version)).gaps == .skip)
        #expect(try read(RBDBuilder.typical(version: version, from: nil)).gaps == .zero)
    }

    @Test func `unknown records of version 2 are passed over, those of version 1 can't be`() throws
    {
        for version in [1, 2] {
            var diff = RBDBuilder(version: version)
            diff.size(1 << 20)
            diff.record("x", [1, 2, 3])
            diff.zero(0, 512)
            diff.end()
            let bytes = diff.bytes
            if version == 2 {
                #expect(try read(bytes).lines == ["zero 0..<512"])
            } else {
                expectError(.malformed, "byte 21") { () throws(ChangeMapError) in try read(bytes) }
            }
        }
    }

    @Test(arguments: [1, 2])
    func `records that lie about their size are refused`(version: Int) {
        for (offset, length, kind) in [
            (UInt64(0), UInt64(1) << 21, ChangeMapError.Kind.beyondDevice),
            (1 << 63, 1, .malformed),
            (0, .max, .malformed), (1 << 62, 1 << 62, .beyondDevice), (0, 0, .malformed),
        ] {
            var diff = RBDBuilder(version: version)
            diff.size(1 << 20)
            diff.record("w", RBDBuilder.number(offset) + RBDBuilder.number(length))
            diff.end()
            let bytes = diff.bytes
            expectError(kind, "byte") { () throws(ChangeMapError) in try read(bytes) }
        }
    }

    @Test func `data that is missing, and anything behind the end, is refused`() {
        var diff = RBDBuilder(version: 2)
        diff.zero(0, 512)
        diff.end()
        let sizeless = diff.bytes
        expectError(.malformed, "size") { () throws(ChangeMapError) in try read(sizeless) }
        let whole = RBDBuilder.typical(version: 1)
        expectError(.malformed, "end record") { () throws(ChangeMapError) in
            try read(whole.dropLast())
        }
        expectError(.malformed, "follows") { () throws(ChangeMapError) in try read(whole + [0]) }
        expectError(.unsupported, "export-diff") { () throws(ChangeMapError) in
            try ChangeMap.read("rbd image v2\n")
        }
        expectError(.unsupported, "v1") { () throws(ChangeMapError) in
            try ChangeMap.read("rbd diff v3\n")
        }
    }
}
