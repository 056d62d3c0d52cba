import ChangeMap
import DirtyBitmap
import Foundation
import TestSupport
import Testing

/// Files that tools on this machine write and read just now.
@Suite struct ToolTests {
    private static func needs(_ tool: String) -> Comment { "needs \(tool)" }

    /// A file of 16 MiB with data at 256 KiB and at 4000 KiB.
    private func sparseFile(_ scratch: Scratch) throws -> String {
        let path = try scratch.file("disk.img", size: 1 << 24)
        let file = try #require(FileHandle(forWritingAtPath: path))
        for (offset, count) in [(262144, 131072), (4_096_000, 4096)] {
            try file.seek(toOffset: UInt64(offset))
            try file.write(contentsOf: Data(repeating: 7, count: count))
        }
        try file.synchronize()
        try file.close()
        return path
    }

    private func copies(_ text: String) throws -> [Range<Int64>] {
        let map = try ChangeMap.read(text + "\n")
        return map.extents.filter { $0.meaning == .copy }.map(\.range)
    }

    @Test(.enabled(if: Shell.has("ddrescuelog"), needs("ddrescuelog (gddrescue)")))
    func `ddrescuelog reads what we write`() throws {
        let scratch = try Scratch()
        var bitmap = DirtyBitmap(size: 1 << 20)
        bitmap.set(65536..<196608)
        let path = scratch.path("map")
        let bytes = try ChangeMap.write(bitmap, format: .ddrescue, name: "x")
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let status = try Shell.run("ddrescuelog", "-t", path)
        #expect(status.contains("non-tried:   131072 B"), "\(status)")
        #expect(status.contains("rescued:   917504 B"), "\(status)")
        let blocks = try Shell.run("ddrescuelog", "-b", "65536", "-l", "?", path)
        #expect(blocks == "1\n2")
    }

    @Test(.enabled(if: Shell.has("ddrescuelog"), needs("ddrescuelog (gddrescue)")))
    func `ddrescuelog's maps of lists of blocks end with the disk`() throws {
        let scratch = try Scratch()
        let path = scratch.path("map")
        try Shell.run("sh", "-c", "echo 1 2 | tr ' ' '\\n' | ddrescuelog -b 65536 -c \(path)")
        let map = try ChangeMap.read(try String(contentsOfFile: path, encoding: .utf8))
        #expect(map.lines == ["copy 0..<65536", "skip 65536..<196608", "copy 196608..<16777216"])
    }

    @Test(.enabled(if: Shell.has("ddrescue"), needs("ddrescue (gddrescue)")))
    func `what ddrescue has rescued is done`() throws {
        let scratch = try Scratch()
        let disk = try sparseFile(scratch)
        let map = scratch.path("map")
        try Shell.run("ddrescue", "-q", "--size=8Mi", disk, scratch.path("copy.img"), map)
        let read = try ChangeMap.read(try String(contentsOfFile: map, encoding: .utf8))
        #expect(read.format == .ddrescue)
        #expect(read.dirtyBytes == 1 << 23)
    }

    @Test(.enabled(if: Shell.has("qemu-img"), needs("qemu-img")))
    func `qemu-img's map of a sparse file`() throws {
        let scratch = try Scratch()
        let disk = try sparseFile(scratch)
        let text = try Shell.run("qemu-img", "map", "--output=json", "-f", "raw", disk)
        let ranges = try copies(text)
        #expect(ranges.contains { $0.contains(262144) })
        #expect(ranges.contains { $0.contains(4_096_000) })
    }

    @Test(.enabled(if: Shell.has("nbdinfo", "qemu-nbd"), needs("nbdinfo and qemu-nbd")))
    func `nbdinfo's map, as text and as JSON`() throws {
        let scratch = try Scratch()
        let disk = try sparseFile(scratch)
        let server = ["[", "qemu-nbd", "-r", "-f", "raw", disk, "]"]
        let json = try copies(Shell.run("nbdinfo", ["--map", "--json", "--"] + server))
        let text = try copies(Shell.run("nbdinfo", ["--map", "--"] + server))
        #expect(json == text)
        #expect(json.contains { $0.contains(262144) })
    }

    @Test(.enabled(if: Shell.has("filefrag"), needs("filefrag")))
    func `filefrag's table of a sparse file`() throws {
        let scratch = try Scratch()
        let disk = try sparseFile(scratch)
        guard let text = try? Shell.run("filefrag", "-v", disk), text.contains("ext:") else {
            return  // The filesystem of temporary files may not tell.
        }
        let ranges = try copies(text)
        #expect(ranges.contains { $0.contains(262144) })
        #expect(ranges.contains { $0.contains(4_096_000) })
    }

    @Test(.enabled(if: Shell.has("bmaptool"), needs("bmaptool")))
    func `bmaptool's map and its checksum`() throws {
        let scratch = try Scratch()
        let disk = try sparseFile(scratch)
        let path = scratch.path("disk.bmap")
        try Shell.run("bmaptool", "create", "-o", path, disk)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let map = try ChangeMap.read(text)
        #expect(map.format == .bmap && map.warnings.isEmpty)
        #expect(map.extents.contains { $0.range.contains(262144) })
        #expect(throws: ChangeMapError.self) {
            try ChangeMap.read(text.replacing("MiB", with: "KiB", maxReplacements: 1))
        }
    }

    @Test(.enabled(if: Shell.has("partclone.extfs", "mkfs.ext4"), needs("partclone and mkfs.ext4")))
    func `partclone's domain map`() throws {
        let scratch = try Scratch()
        let disk = try scratch.file("fs.img", size: 1 << 24)
        try Shell.run("mkfs.ext4", "-q", "-F", disk)
        let path = scratch.path("domain.map")
        try Shell.run("partclone.extfs", "-q", "-D", "-s", disk, "-o", path)
        let map = try ChangeMap.read(try String(contentsOfFile: path, encoding: .utf8))
        #expect(map.format == .partclone)
        #expect(map.extents.first?.meaning == .copy)
        #expect(map.dirtyBytes < 1 << 24)
    }

    @Test(.enabled(if: Shell.has("thin_restore", "thin_delta"), needs("thin-provisioning-tools")))
    func `thin_delta's and thin_dump's XML of real metadata`() throws {
        let scratch = try Scratch()
        let metadata = try scratch.file("metadata", size: 1 << 22)
        let dump = scratch.path("dump.xml")
        try Data(Text.thinDump.utf8).write(to: URL(fileURLWithPath: dump))
        try Shell.run("thin_restore", "-i", dump, "-o", metadata)
        let delta = try Shell.run("thin_delta", "--thin1", "2", "--thin2", "1", metadata)
        let map = try ChangeMap.read(delta)
        #expect(map.format == .thinDelta)
        let expected = ["skip 0..<655360", "copy 655360..<1310720", "zero 2621440..<2949120"]
        #expect(map.lines == expected)
        let device = try ChangeMap.read(
            try Shell.run("thin_dump", metadata), .init(thinDevice: 2))
        #expect(device.lines == ["copy 0..<1310720", "copy 2621440..<2949120"])
    }

    @Test(.enabled(if: Shell.has("era_restore", "era_invalidate"), needs("era_invalidate")))
    func `era_invalidate's XML of real metadata`() throws {
        let scratch = try Scratch()
        let metadata = try scratch.file("metadata", size: 1 << 22)
        let eras = (0..<256).map { block in
            "<era block=\"\(block)\" era=\"\([7, 20, 21].contains(block) ? 4 : 1)\"/>"
        }
        let dump =
            "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"256\" current_era=\"5\">"
            + "<era_array>\(eras.joined())</era_array></superblock>"
        let path = scratch.path("era.xml")
        try Data(dump.utf8).write(to: URL(fileURLWithPath: path))
        try Shell.run("era_restore", "-i", path, "-o", metadata)
        let text = try Shell.run("era_invalidate", "--written-since", "3", metadata)
        let map = try ChangeMap.read(text, .init(blockSize: 65536))
        #expect(map.lines == ["copy 458752..<524288", "copy 1310720..<1441792"])
    }
}
