import BlockStorage
import DirtyBitmap
import Foundation
import TestSupport
import Testing

@testable import QCOW2

/// Directories and tables that lie: each is an error with a place and a remedy, and all can be
/// removed.
@Suite struct BitmapDamageTests {
    private static let size: Int64 = 1 << 20

    private func image() throws -> MemoryImage {
        let file = try BitmapRig.image(clusterBits: 12, size: Self.size)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        try bitmaps.add("first", granularity: .min)
        try bitmaps.add("second", granularity: Granularity(bytes: 4096))
        try bitmaps.add("third", disabled: true)
        try bitmaps.store("first", BitmapRig.bits(Self.size, 9, [0..<4096]))
        try bitmaps.store("second", BitmapRig.bits(Self.size, 9, [4096..<9000]))
        return file
    }

    private func directory(_ file: MemoryImage) throws -> BitmapDirectory {
        try BitmapDirectory.read(Header.read(from: file), file)
    }

    /// Something wrong with the entry of `second`.
    struct Flaw: Sendable {
        let text: String
        var kind = ImageProblem.Kind.malformed
        let at: Int
        let bytes: [UInt8]
    }

    private static let flaws = [
        Flaw(text: "can't be at 0", at: 0, bytes: [0, 0, 0, 0, 0, 0, 0, 0]),
        Flaw(text: "can't be at 4097", at: 0, bytes: [0, 0, 0, 0, 0, 0, 0x10, 1]),
        Flaw(
            text: "can't be at 18446744073709547520", at: 0,
            bytes: .init(repeating: 0xff, count: 6) + [0xf0, 0]),
        Flaw(text: "table of 0 entries", at: 8, bytes: [0, 0, 0, 0]),
        Flaw(text: "table of 134217728 entries", at: 8, bytes: [8, 0, 0, 0]),
        Flaw(text: "needs 1", at: 8, bytes: [0, 0, 0, 2]),
        Flaw(text: "unknown flags 0x80000000", kind: .unsupported, at: 12, bytes: [0x80, 0, 0, 2]),
        Flaw(text: "unknown flags 0x8", kind: .unsupported, at: 12, bytes: [0, 0, 0, 10]),
        Flaw(text: "unknown type 2", kind: .unsupported, at: 16, bytes: [2]),
        Flaw(text: "2^8 bytes is not supported", kind: .unsupported, at: 17, bytes: [8]),
        Flaw(text: "2^32 bytes is not supported", kind: .unsupported, at: 17, bytes: [32]),
        Flaw(text: "2^255 bytes is not possible", at: 17, bytes: [255]),
        Flaw(text: "byte that is 0", at: 24, bytes: [0]),
        Flaw(text: "not text", at: 24, bytes: [0xff]),
        Flaw(text: "same name", at: 24, bytes: Array("third".utf8) + [0]),
    ]

    @Test(arguments: flaws)
    func `scenario 75: one bad entry is named, and the others stay in use`(flaw: Flaw) throws {
        let file = try image()
        let entry = try directory(file).entries[1]
        var bytes = flaw.bytes
        if flaw.text == "same name" {
            // One letter less: the byte that is over goes into the padding.
            file.poke([0, 5], at: Int(entry.offset) + 18)
            bytes.removeLast()
            file.poke(bytes + [0], at: Int(entry.offset) + 24)
        } else {
            file.poke(bytes, at: Int(entry.offset) + flaw.at)
        }
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        let list = try bitmaps.list()
        let problem = try #require(list.problems.first)
        #expect(problem.kind == flaw.kind)
        #expect(problem.description.contains(flaw.text), "\(problem)")
        let place = try #require(problem.offset)
        #expect(place >= entry.offset && place < entry.offset + Int64(entry.byteCount))
        #expect(!problem.remedy.isEmpty)
        #expect(list.bitmaps.first?.name == "first" && list.bitmaps.first?.dirtyBytes == 4096)
        #expect(list.bitmaps.count == (flaw.text == "same name" ? 1 : 2))

        // What is not understood is kept byte for byte when something else changes.
        let before = try directory(file).entries[1]
        #expect(try bitmaps.lostByWriting().count == (before.isEnabled ? 1 : 0))
        try bitmaps.add("fourth")
        try bitmaps.clear("first")
        try bitmaps.markInUse()
        try bitmaps.store(changed: BitmapRig.bits(Self.size, 9, [512..<1024]))
        var after = try directory(file).entries[1]
        if before.isEnabled { #expect(after.isInUse) }
        after.flags = before.flags
        (after.offset, after.flaw) = (before.offset, before.flaw)
        #expect(after == before)
        #expect(try bitmaps.load("first").dirtyBytes == 512)
        #expect(try BitmapAudit(file).leaks == [] || before.flaw?.kind == .malformed)

        let name = String(decoding: before.name, as: UTF8.self)
        if Array(name.utf8) == before.name {
            let notes = try bitmaps.remove(name)
            // In use, it may be of another size: its table is then as good as any.
            let isLeft = flaw.text != "needs 1"
            #expect(notes.count == (isLeft ? 1 : 0), "\(notes)")
            #expect(notes.allSatisfy { $0.contains("check -r leaks") })
            #expect(try bitmaps.list().problems == [])
        }
        try bitmaps.removeAll()
        #expect(try bitmaps.list() == ImageBitmapList())
        #expect(try BitmapAudit(file).lost == [])
    }

    @Test
    func `an enabled bitmap that is in use already is named to whoever writes the disk`() throws {
        let file = try image()
        let entry = try directory(file).entries[1]
        file.poke([0, 0, 0, 3], at: Int(entry.offset) + 12)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        let lost = try bitmaps.lostByWriting()
        #expect(lost.count == 1)
        #expect(lost.first?.contains("bitmap 'second' is inconsistent") == true, "\(lost)")
        // That it is, whatever is written now.
        #expect(lost.first?.contains("makes it inconsistent") == false, "\(lost)")
        file.poke([0, 0, 0, 1], at: Int(entry.offset) + 12)
        #expect(try bitmaps.lostByWriting() == [])
    }

    @Test func `a bitmap whose table is broken is named, and not called missing`() throws {
        let file = try image()
        let entry = try directory(file).entries[1]
        // Off the clusters.
        file.poke([0, 0, 0, 0, 0, 0, 0x12, 0], at: Int(entry.tableOffset))
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        let listed = try #require(try bitmaps.list().problems.first)
        #expect(BitmapRig.problem { _ = try bitmaps.bitmap("second") } == listed)
        #expect(listed.kind == .malformed && listed.description.contains("'second' is broken"))
        #expect(try bitmaps.bitmap("first").dirtyBytes == 4096)
        #expect(BitmapRig.problem { _ = try bitmaps.bitmap("none") }?.kind == .missing)
    }

    @Test func `extra data decides whether a bitmap may be used, and is kept`() throws {
        let file = try image()
        var entries = try directory(file).entries
        let offset = try directory(file).offset
        entries[1].extraData = [1, 2, 3]
        entries[0].extraData = Array(repeating: 7, count: 100)
        entries[0].flags.insert(.extraDataCompatible)
        let bytes = BitmapDirectory.encoded(entries)
        file.poke(bytes, at: Int(offset))
        var header = try Header.read(from: file)
        header.set(
            .bitmaps,
            BitmapDirectory.headerExtension(count: 3, byteCount: bytes.count, offset: offset))
        file.poke(try header.encoded(for: file.path), at: 0)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        #expect(BitmapRig.problem { _ = try bitmaps.load("second") }?.kind == .unsupported)
        try bitmaps.merge(into: "first", bits: BitmapRig.bits(Self.size, 9, [8192..<8193]))
        #expect(try bitmaps.load("first").dirtyBytes == 4096 + 512)
        let after = try directory(file).entries
        #expect(after.map(\.extraData) == entries.map(\.extraData))
        #expect(after[0].flags == [.auto, .extraDataCompatible])
    }

    @Test func `a broken directory stops changes, and can be removed`() throws {
        typealias Damage = (inout [UInt8]) -> Void
        let cases: [(String, Damage)] = [
            ("has 24 bytes", { $0.removeLast(8) }),
            ("unknown field", { $0[7] = 1 }),
            ("0 bitmaps", { $0.replaceSubrange(0..<4, with: [0, 0, 0, 0]) }),
            ("65536 bitmaps", { $0.replaceSubrange(0..<4, with: [0, 1, 0, 0]) }),
            ("the header names 4", { $0[3] = 4 }),
            ("behind the 2 bitmaps", { $0[3] = 2 }),
            (
                "it can't have 0 bytes",
                { $0.replaceSubrange(8..<16, with: [UInt8](repeating: 0, count: 8)) }
            ),
            (
                "it can't have 18446744073709551615 bytes",
                { $0.replaceSubrange(8..<16, with: [UInt8](repeating: 255, count: 8)) }
            ),
            (
                "67107840 bytes at",
                { $0.replaceSubrange(8..<16, with: [0, 0, 0, 0, 3, 255, 252, 0]) }
            ),
            ("cut off", { $0[15] -= 24 }),
            ("goes beyond its end", { $0[15] -= 8 }),
            (
                "bytes at 0 can't",
                { $0.replaceSubrange(16..<24, with: [UInt8](repeating: 0, count: 8)) }
            ),
            (
                "bytes at 9223372036854771712 can't",
                { $0.replaceSubrange(16..<24, with: [0x7f, 255, 255, 255, 255, 255, 0xf0, 0]) }
            ),
        ]
        for (text, damage) in cases {
            let file = try image()
            var header = try Header.read(from: file)
            var data = try #require(header.data(of: .bitmaps))
            damage(&data)
            header.set(.bitmaps, data)
            file.poke(try header.encoded(for: file.path), at: 0)
            let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
            let list = try bitmaps.list()
            let problem = try #require(list.problems.last, "\(text)")
            let wanted = text == "has 24 bytes" ? "has 16 bytes" : text
            #expect(problem.description.contains(wanted), "\(problem)")
            #expect(problem.remedy.ways.contains(.removeAllBitmaps), "\(problem)")
            for body in [
                { try bitmaps.add("new") }, { try bitmaps.remove("first") },
                { try bitmaps.markInUse() },
            ] as [() throws -> Void] {
                #expect(BitmapRig.problem(body) == problem, "\(text)")
            }
            #expect(try bitmaps.removeAll().count == 1)
            #expect(try bitmaps.list() == ImageBitmapList())
            try bitmaps.add("new")
            #expect(try BitmapRig.states(file).count == 1)
            #expect(try BitmapAudit(file).lost == [])
        }
    }

    @Test func `what a broken image shares is not freed`() throws {
        let file = try image()
        let entries = try directory(file).entries
        // The second bitmap has the table of the first, the third has the L1 table as its bits.
        var bytes = [UInt8](repeating: 0, count: 8)
        bytes.put(entries[0].tableOffset, at: 0)
        file.poke(bytes, at: Int(entries[1].offset))
        let header = try Header.read(from: file)
        bytes.put(UInt64(header.l1Offset), at: 0)
        file.poke(bytes, at: Int(entries[2].tableOffset))
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        // The second one still needs what the first one has.
        #expect(try bitmaps.remove("first").count == 1)
        #expect(try bitmaps.load("second").dirtyCount == 8)
        #expect(try bitmaps.removeAll().count == 1)
        #expect(try BitmapAudit(file).lost == [])
        #expect(try BitmapRig.Writer(file).refcount(header.l1Offset / header.clusterSize) == 1)
    }

    @Test func `what two bitmaps share is not freed twice`() throws {
        let file = try image()
        let entries = try directory(file).entries
        var bytes = [UInt8](repeating: 0, count: 8)
        bytes.put(entries[0].tableOffset, at: 0)
        file.poke(bytes, at: Int(entries[1].offset))
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        #expect(try bitmaps.removeAll().count == 1)
        #expect(try bitmaps.list() == ImageBitmapList())
    }

    @Test func `tables that lie are errors at their place`() throws {
        for value: UInt64 in [
            2, 0x1ff, 1 << 56, 1 << 63, 0x1001, 0x1200, 0x00ff_ffff_ffff_f000, 1 << 40, .max,
        ] {
            let file = try image()
            let entry = try directory(file).entries[0]
            var bytes = [UInt8](repeating: 0, count: 8)
            bytes.put(value, at: 0)
            file.poke(bytes, at: Int(entry.tableOffset))
            let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
            let problem = try #require(BitmapRig.problem { _ = try bitmaps.load("first") })
            #expect(problem.kind == .malformed && problem.offset == Int64(entry.tableOffset))
            #expect(try bitmaps.list().problems == [problem])
            #expect(try bitmaps.list().bitmaps.map(\.name) == ["second", "third"])
            #expect(
                BitmapRig.problem { try bitmaps.merge(into: "second", from: ["first"]) } == problem)
            #expect(try bitmaps.remove("first").count == 1)
            #expect(try BitmapAudit(file).lost == [])
        }
    }

    @Test(arguments: 1...4)
    func `no damage stops the program or takes much memory`(seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        let sound = try image()
        let directory = try directory(sound)
        let places =
            [88..<96, 112..<160]
            + [Int(directory.offset)..<Int(directory.offset + directory.byteCount)]
            + directory.entries.map { Int($0.tableOffset)..<Int($0.tableOffset) + 8 }
        for round in 0..<RandomTest.events(default: 400) {
            let file = MemoryImage(sound.content)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(
                    in: places.randomElement(using: &random) ?? 88..<96, using: &random)
                let byte: UInt8 =
                    random.chance(percent: 50)
                    ? [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
                    : file.content[place] ^ (1 << UInt8.random(in: 0..<8, using: &random))
                file.poke([byte], at: place)
            }
            guard let writer = try? BitmapRig.Writer(file) else { continue }
            let bitmaps = ImageBitmaps(writer)
            let list = try bitmaps.list()
            for bitmap in list.bitmaps where !bitmap.isInconsistent {
                let bits = try bitmaps.load(bitmap.name)
                #expect(bits.dirtyBytes == bitmap.dirtyBytes, "round \(round), \(random.replay)")
            }
            for body in [
                { try bitmaps.merge(into: "second", from: ["first", "third"]) },
                { try bitmaps.remove("third") },
                {
                    try bitmaps.markInUse()
                    try bitmaps.store(changed: BitmapRig.bits(Self.size, 9, [0..<1]))
                },
            ] as [() throws -> Void] where random.chance(percent: 70) {
                if let problem = BitmapRig.problem(body) {
                    #expect(!problem.what.isEmpty && problem.path == file.path)
                }
            }
            #expect(file.largestRead <= 1 << 21, "round \(round), \(random.replay)")
        }
    }

    @Test(.enabled(if: BitmapQEMU.isThere, "the tools of QEMU and libnbd are not installed"))
    func `a directory of zeros, as one user had it, is removed, and QEMU goes on`() throws {
        let qemu = try BitmapQEMU(size: 8 << 20)
        try qemu.io("write -P 5 0 1M")
        try qemu.bitmap("--add", "a")
        let file = try qemu.memory()
        let directory = try directory(file)
        file.poke([UInt8](repeating: 0, count: Int(directory.byteCount)), at: Int(directory.offset))
        try file.save(qemu.path)
        #expect(throws: Shell.Failure.self) { try qemu.io("write 0 64k") }
        #expect(throws: Shell.Failure.self) { try qemu.bitmap("--remove", "a") }
        try qemu.change { bitmaps in
            let problem = try #require(try bitmaps.list().problems.first)
            #expect(problem.remedy.ways.contains(.removeAllBitmaps), "\(problem)")
            #expect(try bitmaps.removeAll().count == 1)
        }
        try Shell.run("qemu-img", "check", "-r", "leaks", qemu.path)
        try qemu.check()
        try qemu.io("read -P 5 0 1M", "write 0 64k")
        #expect(try qemu.list() == [])
    }
}
