import ChangeMap
import Testing

/// What is around a map: taken off, or named.
@Suite struct WrapperTests {
    private func read(
        _ bytes: [UInt8], _ options: ChangeMapOptions = .init()
    ) throws(ChangeMapError) -> ChangeMap {
        try ChangeMap.read(bytes, name: "map", deviceSize: 1 << 24, options: options)
    }

    @Test(arguments: [
        (Text.ddrescue, ChangeMapFormat.ddrescue), (Text.bmap, .bmap), ("0 512\n", .ranges),
        ("# ringmirror ranges\n0 512\n", .ranges),
    ])
    func `a byte order mark changes nothing`(text: String, format: ChangeMapFormat) throws {
        let plain = try read(Array(text.utf8))
        for options in [ChangeMapOptions(), .init(format: format)] {
            let marked = try read([0xEF, 0xBB, 0xBF] + Array(text.utf8), options)
            #expect(marked.format == format)
            #expect(marked.extents == plain.extents)
        }
    }

    @Test(arguments: ["\n", "\r\n"])
    func `a clear-signed map is read, with a warning`(end: String) throws {
        let plain = try read(Array(Text.bmap.utf8))
        let head = ["-----BEGIN PGP SIGNED MESSAGE-----", "Hash: SHA256", "", ""]
        let signature = ["-----BEGIN PGP SIGNATURE-----", "", "iQ==", "=abcd"]
        let signed =
            head.joined(separator: end) + Text.bmap
            + (signature + ["-----END PGP SIGNATURE-----", ""]).joined(separator: end)
        let map = try read(Array(signed.utf8))
        #expect(map.extents == plain.extents)
        #expect(map.warnings.contains { $0.contains("signature was not checked") })
    }

    @Test func `dashes at the beginning of signed lines are escaped`() throws {
        let signed = """
            -----BEGIN PGP SIGNED MESSAGE-----

            - # --- a comment
            0 512
            -----BEGIN PGP SIGNATURE-----
            """
        #expect(try read(Array(signed.utf8)).dirtyBytes == 512)
    }

    @Test(arguments: [
        "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNED MESSAGE-----\n\n0 512\n",
    ])
    func `a signed text that is cut off is refused`(text: String) {
        expectError(.malformed, "signed text") { () throws(ChangeMapError) in
            try read(Array(text.utf8))
        }
    }

    @Test(arguments: [
        ([0x1F, 0x8B, 8, 0], "gzip"), (Array("BZh91AY".utf8), "bzip2"),
        ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0, 0], "xz"), ([0x28, 0xB5, 0x2F, 0xFD], "zstd"),
        ([0x04, 0x22, 0x4D, 0x18], "lz4"), (Array("PK\u{3}\u{4}".utf8), "zip"),
        ([0xFF, 0xFE, 0x30, 0], "UTF-16"), ([0xFE, 0xFF, 0, 0x30], "UTF-16"),
    ])
    func `what has to be decompressed first is named`(bytes: [UInt8], name: String) {
        for format in [nil, ChangeMapFormat.ranges] {
            expectError(.unsupported, name, "first") { () throws(ChangeMapError) in
                try read(bytes, .init(format: format))
            }
        }
    }
}

/// Counts of sectors that are taken for bytes leave out what changed.
@Suite struct BlockSizeTests {
    @Test(arguments: [1, 8, 128, 512, 4095])
    func `blocks smaller than any of dm-era's are refused`(size: Int64) {
        expectError(.option(.blockSize), "is that sectors?", "\(size * 512) bytes") {
            () throws(ChangeMapError) in
            try ChangeMap.read(Text.era1, .init(blockSize: size))
        }
    }

    @Test func `blocks that are no whole sectors are refused`() {
        expectError(.option(.blockSize), "multiples of 512") { () throws(ChangeMapError) in
            try ChangeMap.read(Text.era1, .init(blockSize: 65535))
        }
    }

    @Test(arguments: [0, 1, 8, 127, 129, 192, 1 << 22])
    func `a thin pool has blocks of 64 KiB to 1 GiB`(sectors: Int) {
        let text = """
            <superblock data_block_size="\(sectors)">
            <diff left="1" right="2"><different begin="0" length="1"/></diff></superblock>
            """
        expectError(.malformed, "line 1") { () throws(ChangeMapError) in
            try ChangeMap.read(text, .init(format: .thinDelta))
        }
    }

    @Test func `a bmap has blocks of at least a sector`() {
        let text = Text.bmap12
            .replacing("<BlockSize> 4096", with: "<BlockSize> 8")
            .replacing("<BlocksCount> 3", with: "<BlocksCount> 1250")
        expectError(.malformed, "512 or more") { () throws(ChangeMapError) in
            try ChangeMap.read(text)
        }
    }

    @Test func `a bit of DRBD's is a page at least`() {
        let text = Text.drbd08.replacing("bm-byte-per-bit 4096", with: "bm-byte-per-bit 8")
        expectError(.malformed, "4096 or more") { () throws(ChangeMapError) in
            try ChangeMap.read(text)
        }
    }
}
