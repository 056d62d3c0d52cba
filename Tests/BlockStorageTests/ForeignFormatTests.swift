import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Containers are told from the disks in them.
@Suite struct ForeignFormatTests {
    private func recognise(_ path: String) throws -> String? {
        try StorageDevice.openSource(FilePath(path)).foreignFormat?.name
    }

    private static let formats = [
        "vmdk": "VMDK", "vdi": "VDI", "vhdx": "VHDX", "vpc": "VHD", "qed": "QED",
        "qcow": "qcow image of version 1", "parallels": "Parallels",
    ]

    @Test(
        .enabled(if: Shell.has("qemu-img")),
        arguments: formats.keys.sorted(),
        ["", "-o subformat=fixed", "-o subformat=streamOptimized"])
    func `what qemu-img makes is known by name`(format: String, option: String) throws {
        let scratch = try Scratch()
        let raw = try scratch.file("raw", size: 1 << 20)
        let image = scratch.path("image")
        do {
            try Shell.run(
                "sh", "-c", "qemu-img convert -f raw -O \(format) \(option) \(raw) \(image)")
        } catch {
            // Few formats have these kinds.
            #expect(!option.isEmpty, "\(error)")
            return
        }
        let name = try recognise(image)
        #expect(name?.contains(Self.formats[format] ?? "?") == true, "\(name ?? "nothing")")
    }

    @Test(arguments: ["gzip", "xz", "zstd", "bzip2", "lz4", "lzip", "lzop"])
    func `what is compressed is known by its program`(program: String) throws {
        let scratch = try Scratch()
        let raw = try scratch.file("raw", size: 1 << 20)
        guard Shell.has(program) else { return }
        try Shell.run("sh", "-c", "\(program) -c < \(raw) > \(scratch.path("packed"))")
        #expect(try recognise(scratch.path("packed")) == "compressed by \(program)")
    }

    /// Makes a file by a tool, and says what it is taken for.
    private func made(_ name: String, by command: String, needs tool: String) throws -> String? {
        guard Shell.has(tool) else { return nil }
        let scratch = try Scratch()
        let raw = try scratch.file("raw", size: 100_000)
        try Shell.run("cp", "--no-preserve=mode", "/bin/sh", raw)
        try Shell.run("sh", "-c", "cd \(scratch.path) && \(command) > '\(name)'")
        return try recognise(scratch.path(name)) ?? "nothing"
    }

    private func recognise(_ bytes: [UInt8], name: String = "disk") -> String? {
        let padded = bytes + [UInt8](repeating: 0, count: max(0, 512 - bytes.count))
        return ForeignFormat.recognise(beginning: padded, end: [], name: name)?.name
    }

    @Test func `what has no number of its own is known by its header`() throws {
        for level in [0, 6, 9] {
            let command = "xz --format=lzma -\(level) -c raw"
            let name = try made("packed", by: command, needs: "xz")
            #expect([nil, "compressed by lzma"].contains(name))
        }
        for command in ["tar --format=v7 -cf - raw", "echo raw | cpio -o -H tar"] {
            let tool = command.contains("cpio") ? "cpio" : "tar"
            #expect([nil, "a tar archive"].contains(try made("packed", by: command, needs: tool)))
        }
        for format in ["newc", "odc", "crc"] {
            let command = "echo raw | cpio -o -H \(format)"
            #expect(
                [nil, "a cpio archive"].contains(try made("packed", by: command, needs: "cpio")))
        }
        for (options, file) in [("", "packed"), ("-b 12", "packed.Z")] {
            let name = try made(file, by: "compress \(options) -c raw", needs: "compress")
            #expect([nil, "compressed by compress"].contains(name))
        }
        for (level, file) in [(1, "a.zz"), (6, "a.zlib"), (9, "A.ZZ")] {
            let name = try made(file, by: "pigz -z -\(level) -c raw", needs: "pigz")
            #expect([nil, "compressed as a zlib stream"].contains(name))
        }
    }

    /// The beginnings of files that tools made which are seldom there.
    @Test func `what few tools make`() {
        let lzma: [UInt8] = [0x5d, 0, 0, 0x80, 0]
        let unsized = [UInt8](repeating: 0xff, count: 8) + [0, 0x3f]
        let sized: [UInt8] = [0xb8, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0x30]
        let cases: [([UInt8], String, String?)] = [
            (Array("Rar!".utf8) + [0x1a, 7, 0, 0xcf], "disk", "a RAR archive"),
            (Array("Rar!".utf8) + [0x1a, 7, 1, 0, 0x33], "disk", "a RAR archive"),
            (Array("MSWIM".utf8) + [0, 0, 0, 0xd0], "disk", "a WIM archive"),
            (Array("WLPWM".utf8) + [0, 0, 0, 0xd0], "disk", "a WIM archive"),
            ([0x1f, 0x9d, 0x90, 0x7f, 0x8a, 0x30], "disk", "compressed by compress"),
            ([0x1f, 0x9d, 0x8c, 0x7f, 0x8a, 0x30], "disk.Z", "compressed by compress"),
            ([0x1f, 0x9d, 0x8c, 0x7f, 0x8a, 0x30], "disk", nil),
            ([0x1f, 0x9d, 0xec, 0x7f, 0x8a, 0x30], "disk.Z", nil),
            ([0x1f, 0x9d, 0x91, 0x7f, 0x8a, 0x30], "disk.Z", nil),
            (lzma + unsized, "disk", "compressed by lzma"),
            (lzma + sized, "disk.lzma", "compressed by lzma"),
            (lzma + sized, "disk", nil),
            // Sizes of a dictionary that nobody has, or of a disk; a first byte that is no zero.
            ([0x5d, 0, 0, 0xa0, 0] + unsized, "disk.lzma", nil),
            ([0x5d, 0, 8, 0, 0] + unsized, "disk.lzma", nil),
            ([0x5d, 0, 0, 0xc0, 0] + unsized, "disk", "compressed by lzma"),
            (lzma + [0, 0, 0, 0, 0, 1, 0, 0, 0, 0x30], "disk.lzma", nil),
            (lzma + [UInt8](repeating: 0xff, count: 9), "disk.lzma", nil),
            ([0x5d] + [UInt8](repeating: 0, count: 20), "disk.lzma", nil),
            ([0x78, 0x9c], "disk.zz", "compressed as a zlib stream"),
            ([0x78, 0x5e], "disk.zlib", "compressed as a zlib stream"),
            ([0x78, 0x9d], "disk.zz", nil), ([0x78, 0x9c], "disk.dmg", nil),
            ([0x78, 0xbb], "disk.zz", nil), ([0x78, 0x9c], "disk", nil),
        ]
        for (bytes, name, format) in cases {
            #expect(recognise(bytes, name: name) == format, "\(name): \(bytes)")
        }
        for length in 0..<512 {
            let beginning = [UInt8]((Array("Rar!".utf8) + [0x1a, 7, 0, 0xcf]).prefix(length))
            _ = ForeignFormat.recognise(beginning: beginning, end: beginning, name: "a.lzma")
        }
    }

    /// A tar archive is known by a sum, and not where one byte of it is another.
    @Test func `the sum of a tar header`() {
        var header = [UInt8](repeating: 0, count: 512)
        header.replaceSubrange(0..<4, with: Array("name".utf8))
        header.replaceSubrange(100..<108, with: Array("0000644\0".utf8))
        let sum = header.reduce(8 * 32) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        for field in ["00\(digits)\0 ", "  \(digits)\0 ", "000\(digits) ", "  \(digits)  "] {
            #expect(field.utf8.count == 8)
            header.replaceSubrange(148..<156, with: Array(field.utf8))
            #expect(recognise(header) == "a tar archive", "\(field)")
            var other = header
            other[300] = 1
            #expect(recognise(other) == nil)
            other = header
            other[0] = 0
            #expect(recognise(other) == nil)
        }
        header.replaceSubrange(148..<156, with: Array("00\(digits)\0x".utf8))
        #expect(recognise(header) == nil)
        #expect(ForeignFormat.recognise(beginning: [1], end: [], name: "a.tar") == nil)
    }

    /// What the code of boot sectors begins with: jumps, and what clears registers.
    static let boots: [[UInt8]] = [
        [0xeb, 0x3c, 0x90] + Array("mkfs.fat".utf8), [0xeb, 0x58, 0x90] + Array("MSDOS5.0".utf8),
        [0xeb, 0x52, 0x90] + Array("NTFS    ".utf8), [0xeb, 0x76, 0x90] + Array("EXFAT   ".utf8),
        [0xeb, 0x63, 0x90], [0xe9, 0x00, 0x01], [0x33, 0xc0, 0x8e, 0xd0, 0xbc, 0, 0x7c],
        [0xfa, 0x33, 0xc0], [0xfa, 0xb8, 0, 0x10], [0x31, 0xc0, 0x8e, 0xd0], [0xfc, 0x31, 0xc0],
        [0x45, 0x52, 0x08, 0x00], [0x0e, 0x1f], [0x5d, 0xc3], [0x78, 0x03], [0x90],
    ]

    @Test(arguments: boots)
    func `boot sectors are none of them, whatever the file's name`(beginning: [UInt8]) {
        var random = RandomTest.generator(defaultSeed: 31)
        for name in ["disk", "disk.lzma", "disk.Z", "disk.zz", "disk.zlib", "disk.tar"] {
            for _ in 0..<RandomTest.events(default: 200) {
                var sector = (0..<512).map { _ in UInt8.random(in: 0 ... .max, using: &random) }
                if Bool.random(using: &random) { sector = sector.map { _ in 0 } }
                sector.replaceSubrange(0..<beginning.count, with: beginning)
                sector.replaceSubrange(510..<512, with: [0x55, 0xaa])
                #expect(recognise(sector, name: name) == nil, "\(name) \(random.replay)")
            }
        }
    }

    /// As an encrypted disk without a header begins.
    @Test func `random bytes are none of them`() {
        var random = RandomTest.generator(defaultSeed: 32)
        for _ in 0..<RandomTest.events(default: 20_000) {
            let sector = (0..<64).map { _ in random.next() }
            let bytes = sector.withUnsafeBytes { [UInt8]($0) }
            let found = ForeignFormat.recognise(beginning: bytes, end: bytes, name: "disk.lzma")
            #expect(found == nil, "\(random.replay)")
        }
    }

    @Test func `raw disks are none of them, whatever is on them`() throws {
        #expect(ForeignFormat.recognise(beginning: [], end: [], name: "") == nil)
        let zeros = [UInt8](repeating: 0, count: 512)
        #expect(ForeignFormat.recognise(beginning: zeros, end: zeros, name: "a.lzma") == nil)
        // A mark is one in its own place alone.
        let mark = Array("conectix".utf8)
        #expect(ForeignFormat.recognise(beginning: [0] + mark, end: [1] + mark, name: "") == nil)
        #expect(
            ForeignFormat.recognise(beginning: zeros, end: mark, name: "")?.name == "a VHD image")
        let scratch = try Scratch()
        let names = ["disk", "disk.lzma", "disk.Z", "disk.zz"]
        for name in names.dropFirst() { try #require(symlink("disk", scratch.path(name)) == 0) }
        for (tool, command) in [
            ("mkfs.ext4", "mkfs.ext4 -q"), ("mkfs.xfs", "mkfs.xfs -q"), ("mkswap", "mkswap -q"),
            ("mkfs.fat", "mkfs.fat -F 16"), ("mkfs.fat", "mkfs.fat -F 32"),
            ("mkfs.btrfs", "mkfs.btrfs -q"), ("mkfs.ntfs", "mkfs.ntfs -Q -q -F"),
            ("sfdisk", "echo , | sfdisk -q"), ("sfdisk", "echo 'label: gpt' | sfdisk -q"),
        ] where Shell.has(tool) {
            let path = try scratch.file("disk", size: 400 << 20)
            try Shell.run("sh", "-c", "\(command) \(path)")
            for name in names { #expect(try recognise(scratch.path(name)) == nil, "\(command)") }
        }
    }

    @Test(.enabled(if: LoopDevice.isAvailable))
    func `a disk is a disk, whatever it begins with`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("image", size: 1 << 20)
        let handle = try #require(FileHandle(forUpdatingAtPath: path))
        try handle.write(contentsOf: Data("LUKS".utf8) + Data([0xba, 0xbe]))
        try handle.close()
        #expect(try recognise(path)?.hasPrefix("a LUKS container") == true)
        #expect(try recognise(try scratch.loop(over: path).path) == nil)
    }
}

/// Names that are not text are refused, and never become those of other files.
@Suite struct PathTextTests {
    private func path(_ bytes: [UInt8]) throws -> FilePath {
        try #require(SystemCalls.path(bytes))
    }

    @Test func `bytes that are no text are shown`() {
        #expect(PathText.escaped(Array("ä/€/😀".utf8)) == "ä/€/😀")
        #expect(PathText.escaped([0x62, 0xe4, 0x63, 0xff]) == "b\\xe4c\\xff")
        #expect(PathText.escaped([0xe2, 0x82]) == "\\xe2\\x82")
        #expect(PathText.escaped([0x05, 0x80]) == "\u{5}\\x80")
    }

    @Test func `sources and targets of such names are refused`() throws {
        let scratch = try Scratch()
        let directory = Array(scratch.path.utf8) + [UInt8(ascii: "/")]
        let odd = try path(directory + [0x62, 0xe4])
        let refusal = StorageError.nameNotUTF8(name: scratch.path + "/b\\xe4")
        _ = try SystemCalls.open(odd, O_RDWR | O_CREAT, mode: 0o600)
        // What the name would be if it were repaired.
        let other = try scratch.file("b\u{fffd}", size: 4096)
        let source = try StorageDevice.openSource(FilePath(try scratch.file("s", size: 4096)))
        #expect(throws: refusal) { try StorageDevice.openSource(odd) }
        #expect(throws: refusal) {
            try StorageDevice.openTarget(
                odd, for: source, options: TargetOptions(overwrite: true))
        }
        #expect(throws: StorageError.nameNotUTF8(name: scratch.path + "/\\xff")) {
            try StorageDevice.openTarget(
                path(directory + [0xff]), for: source, options: TargetOptions(create: true))
        }
        // A link of a good name leads to it all the same.
        try #require(symlink("b\u{fffd}", scratch.path("good")) == 0)
        _ = try StorageDevice.openSource(FilePath(scratch.path("good")))
        let link = scratch.path("link")
        try Shell.run("sh", "-c", "cd \(scratch.path) && ln -s \"$(printf 'b\\344')\" link")
        #expect(throws: refusal) { try StorageDevice.openSource(FilePath(link)) }
        _ = other
    }

    @Test func `nothing is made in such a directory`() throws {
        let scratch = try Scratch()
        let source = try StorageDevice.openSource(FilePath(try scratch.file("s", size: 4096)))
        try Shell.run(
            "sh", "-c",
            "cd \(scratch.path) && mkdir \"$(printf 'd\\377')\" && ln -s \"$(printf 'd\\377')\" d")
        #expect(throws: StorageError.nameNotUTF8(name: scratch.path + "/d\\xff/new")) {
            try StorageDevice.openTarget(
                FilePath(scratch.path("d/new")), for: source,
                options: TargetOptions(create: true))
        }
        #expect(try Shell.run("ls", scratch.path("d")).isEmpty)
    }
}
