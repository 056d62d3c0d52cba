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
        "What qemu-img makes is known by name", .enabled(if: Shell.has("qemu-img")),
        arguments: formats.keys.sorted(),
        ["", "-o subformat=fixed", "-o subformat=streamOptimized"])
    func images(format: String, option: String) throws {
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

    @Test(
        "What is compressed is known by its program",
        arguments: ["gzip", "xz", "zstd", "bzip2", "lz4", "lzip", "lzop"])
    func compressed(program: String) throws {
        let scratch = try Scratch()
        let raw = try scratch.file("raw", size: 1 << 20)
        guard Shell.has(program) else { return }
        try Shell.run("sh", "-c", "\(program) -c < \(raw) > \(scratch.path("packed"))")
        #expect(try recognise(scratch.path("packed")) == "compressed by \(program)")
    }

    @Test("Raw disks are none of them, whatever is on them")
    func raw() throws {
        #expect(ForeignFormat.recognise(beginning: [], end: []) == nil)
        let zeros = [UInt8](repeating: 0, count: 512)
        #expect(ForeignFormat.recognise(beginning: zeros, end: zeros) == nil)
        // A mark is one in its own place alone.
        let mark = Array("conectix".utf8)
        #expect(ForeignFormat.recognise(beginning: [0] + mark, end: [1] + mark) == nil)
        #expect(ForeignFormat.recognise(beginning: zeros, end: mark)?.name == "a VHD image")
        let scratch = try Scratch()
        for command in ["mkfs.ext4 -q", "mkfs.xfs -q", "mkswap -q"] {
            let path = try scratch.file("disk", size: 400 << 20)
            try Shell.run("sh", "-c", "\(command) \(path)")
            #expect(try recognise(path) == nil, "\(command)")
        }
    }

    @Test("A disk is a disk, whatever it begins with", .enabled(if: LoopDevice.isAvailable))
    func disks() throws {
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

    @Test func bytesAreShown() {
        #expect(PathText.escaped(Array("ä/€/😀".utf8)) == "ä/€/😀")
        #expect(PathText.escaped([0x62, 0xe4, 0x63, 0xff]) == "b\\xe4c\\xff")
        #expect(PathText.escaped([0xe2, 0x82]) == "\\xe2\\x82")
        #expect(PathText.escaped([0x05, 0x80]) == "\u{5}\\x80")
    }

    @Test func sourcesAndTargetsOfSuchNamesAreRefused() throws {
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

    @Test func nothingIsMadeInSuchADirectory() throws {
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
