import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import QCOW2

/// Every change to the bitmaps of an image, without other programs.
@Suite struct BitmapChangeTests {
    private let size: Int64 = 1 << 20

    private func make(clusterBits: Int = 12) throws -> (MemoryImage, ImageBitmaps) {
        let file = try BitmapRig.image(clusterBits: clusterBits, size: size)
        return (file, ImageBitmaps(try BitmapRig.Writer(file)))
    }

    @Test func `what is stored is loaded, at every size of clusters and granularity`() throws {
        for clusterBits in [9, 12, 16] {
            for shift in [9, 10, 16, 20, 31] {
                for size: Int64 in [1, 512, 4097, 1 << 20, (1 << 22) + 700] {
                    let file = try BitmapRig.image(clusterBits: clusterBits, size: size)
                    let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
                    let granularity = try Granularity(bytes: 1 << Int64(shift))
                    try bitmaps.add("a", granularity: granularity)
                    #expect(try bitmaps.list().bitmaps.first?.dirtyBytes == 0)
                    let ranges = [0..<1, size / 2..<(size / 2 + 1) / 2 * 2, size - 1..<size]
                    let bits = try BitmapRig.bits(
                        size, shift, ranges.filter { $0.upperBound <= size })
                    try bitmaps.store("a", bits)
                    let loaded = try BitmapRig.states(file)["a"]
                    #expect(loaded?.runs == BitmapRig.runs(bits))
                    try bitmaps.subtract("a", bits)
                    #expect(try BitmapRig.states(file)["a"]?.runs == [])
                }
            }
        }
    }

    @Test func `all-one clusters and bits behind the end are read as the format wants it`() throws {
        let (file, bitmaps) = try make(clusterBits: 9)
        // 2048 bits are half a cluster of 512 bytes, 512 bits less than one word of the last.
        try bitmaps.add("a", granularity: .min)
        try bitmaps.store("a", BitmapRig.bits(size, 9, [0..<512]))
        let entry = try #require(
            try BitmapDirectory.read(bitmaps.header, file).entries.first)
        let table = try BitmapTable.read(of: entry, bitmaps.header, file)
        #expect(table.entries.count == 1)
        let cluster = Int(try #require(BitmapTable.cluster(table.entries[0])))
        file.poke([UInt8](repeating: 0xff, count: 256), at: cluster + 256)
        #expect(try BitmapRig.states(file)["a"]?.runs == [0..<512])
        file.poke([0, 0, 0, 0, 0, 0, 0, 1], at: Int(entry.tableOffset))
        #expect(try BitmapRig.states(file)["a"]?.runs == [0..<size])
    }

    @Test func `clusters without a bit take no space`() throws {
        let size: Int64 = 1 << 26
        let file = try BitmapRig.image(clusterBits: 9, size: size)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(file))
        try bitmaps.add("a", granularity: .min)
        // 32 clusters of bits, of which one is used.
        try bitmaps.store("a", BitmapRig.bits(size, 9, [size - 512..<size]))
        let entry = try #require(try BitmapDirectory.read(bitmaps.header, file).entries.first)
        let table = try BitmapTable.read(of: entry, bitmaps.header, file)
        #expect(table.entries.count == 32)
        #expect(table.entries.dropLast().allSatisfy { $0 == 0 })
        #expect(try BitmapRig.states(file)["a"]?.runs == [size - 512..<size])
    }

    @Test(arguments: 1...8)
    func `nothing leaks, and nothing is freed twice, over many changes`(seed: UInt64) throws {
        var random = RandomTest.generator(defaultSeed: seed)
        let (file, bitmaps) = try make(clusterBits: [9, 10, 12].randomElement(using: &random) ?? 9)
        var model: BitmapRig.States = [:]
        for step in 0..<RandomTest.events(default: 60) {
            var changed = model
            let isWanted = random.chance(percent: 85)
            let count = Int.random(in: 1...3, using: &random)
            let refusal = Self.refusal { () throws(StorageError) in
                try bitmaps.change { transaction throws(StorageError) in
                    for _ in 0..<count {
                        try Self.anything(&transaction, &changed, size, &random)
                    }
                    guard isWanted else { throw .notFound(path: "given up") }
                }
            }
            // Given up: as if it had never begun.
            #expect((refusal == nil) == isWanted, "\(random.replay)")
            if isWanted { model = changed }
            #expect(try BitmapRig.states(file) == model, "step \(step), \(random.replay)")
            let leaks = try BitmapAudit(file).leaks
            #expect(leaks == [], "step \(step), \(random.replay)")
        }
    }

    private static func refusal(_ body: () throws(StorageError) -> Void) -> StorageError? {
        do throws(StorageError) { try body() } catch { return error }
        return nil
    }

    /// One change of the image and of the model.
    private static func anything(
        _ transaction: inout BitmapTransaction, _ model: inout BitmapRig.States, _ size: Int64,
        _ random: inout SeededGenerator
    ) throws(StorageError) {
        let name = "bitmap-\(Int.random(in: 0..<4, using: &random))"
        let other = "bitmap-\(Int.random(in: 0..<4, using: &random))"
        guard let state = model[name] else {
            let shift = Int.random(in: 9...13, using: &random)
            let disabled = random.chance(percent: 50)
            guard let granularity = try? Granularity(bytes: 1 << Int64(shift)) else { return }
            try transaction.add(name, granularity: granularity, disabled: disabled)
            model[name] = BitmapRig.State(shift: shift, isRecording: !disabled)
            return
        }
        let start = Int64.random(in: 0..<size, using: &random)
        let range = start..<Int64.random(in: start...size, using: &random)
        guard var bits = try? BitmapRig.bits(size, state.shift, state.runs),
            let given = try? BitmapRig.bits(
                size, Int.random(in: 9...13, using: &random), [range])
        else { return }
        switch Int.random(in: 0..<7, using: &random) {
        case 0:
            try transaction.remove(name)
            model[name] = nil
            return
        case 1:
            try transaction.clear(name)
            bits.clearAll()
        case 2:
            try transaction.setRecording(name, !state.isRecording)
            model[name]?.isRecording.toggle()
        case 3:
            try transaction.store(name, given)
            bits.clearAll()
            try? bits.merge(given)
        case 4:
            try transaction.subtract(name, given)
            try? bits.subtract(given)
        case 5:
            guard let source = model[other] else { return }
            try transaction.merge(into: name, from: [other])
            for run in source.runs { bits.set(run) }
        default:
            try transaction.merge(into: name, bits: given)
            try? bits.merge(given)
        }
        model[name]?.runs = BitmapRig.runs(bits)
    }

    @Test func `what can't be done is refused, says why, and changes nothing`() throws {
        let (file, bitmaps) = try make()
        try bitmaps.add("a")
        let before = file.content
        let other = try BitmapRig.bits(size * 2, 16, [])
        let cases: [(ImageProblem.Kind, String, () throws -> Void)] = [
            (.unsupported, "already", { try bitmaps.add("a") }),
            (.missing, "It has: a.", { try bitmaps.clear("b") }),
            (.missing, "It has: a.", { try bitmaps.remove("") }),
            (.missing, "no bitmap 'b'", { _ = try bitmaps.load("b") }),
            (.missing, "no bitmap 'x?y'", { try bitmaps.remove("x\u{1b}y") }),
            (.missing, "no bitmap 'b'", { try bitmaps.merge(into: "a", from: ["a", "b"]) }),
            (.unsupported, "empty", { try bitmaps.add("") }),
            (.unsupported, "control", { try bitmaps.add("a\0") }),
            (
                .unsupported, "1024 bytes",
                { try bitmaps.add(String(repeating: "x", count: 1024)) }
            ),
            (.unsupported, "2097152 bytes", { try bitmaps.merge(into: "a", bits: other.copy()) }),
            (
                .refused, "reading only",
                { try ImageBitmaps(file, bitmaps.header).add("b") }
            ),
        ]
        for (kind, text, body) in cases {
            let problem = try #require(BitmapRig.problem(body), "\(text)")
            #expect(problem.kind == kind, "\(problem)")
            #expect(problem.description.contains(text), "\(problem)")
            #expect(problem.path == file.path && !problem.remedy.isEmpty)
        }
        #expect(file.content == before)
        // Equal as text, different as bytes: two names, as for QEMU.
        try bitmaps.add("\u{e9}")
        try bitmaps.add("e\u{301}")
        try bitmaps.add(String(repeating: "x", count: 1023))
        #expect(try bitmaps.list().bitmaps.count == 4)
    }

    @Test func `images that can't have bitmaps say so`() throws {
        let file = try BitmapRig.image(clusterBits: 9, size: 0)
        let empty = ImageBitmaps(try BitmapRig.Writer(file))
        #expect(BitmapRig.problem { try empty.add("a") }?.kind == .unsupported)

        let second = try BitmapRig.image(clusterBits: 9, size: 1024)
        var header = try Header.read(from: second)
        header.version = 2
        second.poke(try header.encoded(for: second.path), at: 0)
        let old = ImageBitmaps(try BitmapRig.Writer(second))
        let problem = try #require(BitmapRig.problem { try old.add("a") })
        #expect(problem.remedy.description.contains("amend"))
        #expect(try old.list() == ImageBitmapList())

        let large = try BitmapRig.image(clusterBits: 16, size: 3 << 40)
        let bitmaps = ImageBitmaps(try BitmapRig.Writer(large))
        #expect(BitmapRig.problem { try bitmaps.add("a", granularity: .min) }?.kind == .unsupported)
        try bitmaps.add("a")
        #expect(try BitmapRig.states(large).count == 1)
    }

    @Test func `a header without room costs nothing`() throws {
        let (file, bitmaps) = try make(clusterBits: 9)
        let writer = try BitmapRig.Writer(file)
        var header = writer.header
        header.backingFile = String(repeating: "b", count: 370)
        try writer.update(header)
        let full = ImageBitmaps(try BitmapRig.Writer(file))
        let before = file.content
        #expect(BitmapRig.problem { try full.add("a") }?.kind == .full)
        #expect(file.content == before)
        _ = bitmaps
    }

    @Test func `a program that does not know bitmaps makes them void`() throws {
        let (file, bitmaps) = try make()
        try bitmaps.add("a")
        let writer = try BitmapRig.Writer(file)
        var header = writer.header
        header.autoclear = []
        try writer.update(header)
        let later = ImageBitmaps(try BitmapRig.Writer(file))
        let list = try later.list()
        #expect(list.bitmaps.isEmpty && list.problems.isEmpty)
        #expect(list.notes.count == 1)
        let problem = try #require(BitmapRig.problem { _ = try later.load("a") })
        #expect(
            problem.kind == .missing && problem.remedy.description.contains("does not know bitmaps")
        )
        #expect(BitmapRig.problem { try later.remove("a") }?.kind == .missing)
        // Nothing of the former ones comes back.
        try later.add("b")
        #expect(try later.list().bitmaps.map(\.name) == ["b"])
        header = try Header.read(from: file)
        header.autoclear = []
        try writer.update(header)
        let last = ImageBitmaps(try BitmapRig.Writer(file))
        #expect(try last.removeAll().count == 1)
        #expect(try last.list() == ImageBitmapList())
        #expect(try Header.read(from: file).data(of: .bitmaps) == nil)
    }

    @Test func `between the first write and the last one, bitmaps are in use`() throws {
        let (file, bitmaps) = try make()
        try bitmaps.add("on", granularity: .min)
        try bitmaps.add("off", disabled: true)
        try bitmaps.merge(into: "on", bits: BitmapRig.bits(size, 9, [512..<1024]))
        try bitmaps.markInUse()
        #expect(try BitmapRig.states(file)["on"]?.isInconsistent == true)
        #expect(try BitmapRig.states(file)["off"]?.isInconsistent == false)
        #expect(try bitmaps.list().bitmaps.map(\.isInconsistent) == [false, false])
        for body in [
            { try bitmaps.add("new") }, { try bitmaps.clear("off") },
            { try bitmaps.removeAll() }, { _ = try bitmaps.load("on") },
        ] as [() throws -> Void] {
            #expect(BitmapRig.problem(body)?.kind == .refused)
        }
        // A second process, as after the death of the first.
        let second = ImageBitmaps(try BitmapRig.Writer(MemoryImage(file.content)))
        #expect(BitmapRig.problem { _ = try second.load("on") }?.kind == .refused)
        #expect(BitmapRig.problem { try second.clear("on") }?.kind == .refused)
        #expect(BitmapRig.problem { try second.setRecording("on", false) }?.kind == .refused)
        try second.markInUse()
        try second.store(changed: BitmapRig.bits(size, 9, [0..<size]))
        #expect(try BitmapRig.states(second.file)["on"]?.isInconsistent == true)
        try second.remove("on")
        #expect(try BitmapAudit(second.file).leaks == [])

        try bitmaps.store(changed: BitmapRig.bits(size, 9, [4096..<4097]))
        let states = try BitmapRig.states(file)
        #expect(states["on"]?.runs == [512..<1024, 4096..<4608])
        #expect(states["off"]?.runs == [])
        try bitmaps.markInUse()
        try bitmaps.store(changed: BitmapRig.bits(size, 16, []))
        #expect(try BitmapRig.states(file) == states)
        #expect(try BitmapAudit(file).leaks == [])
    }
}

/// Whether refcounts and bitmaps agree, in an image without data.
struct BitmapAudit {
    /// Clusters that are counted more often than they are used.
    var leaks: [Int64] = []
    /// Clusters that are used more often than they are counted.
    var lost: [Int64] = []

    init(_ file: any ImageFile) throws {
        let writer = try BitmapRig.Writer(file)
        let header = writer.header
        let cluster = header.clusterSize
        var used: [Int64: Int] = [:]
        func use(_ offset: Int64, bytes: Int64) {
            for index in 0..<((bytes + cluster - 1) / cluster) {
                used[offset / cluster + index, default: 0] += 1
            }
        }
        use(0, bytes: 1)
        use(header.l1Offset, bytes: Int64(header.l1EntryCount) * 8)
        let tableBytes = Int64(header.refcountTableClusters) * cluster
        use(header.refcountTableOffset, bytes: tableBytes)
        let table = try file.read(at: header.refcountTableOffset, count: Int(tableBytes))
        for index in 0..<(table.count / 8) where table.bigEndian64(at: index * 8) != 0 {
            use(Int64(table.bigEndian64(at: index * 8)), bytes: 1)
        }
        let directory = try BitmapDirectory.read(header, file)
        if directory.offset != 0 { use(directory.offset, bytes: directory.byteCount) }
        for entry in directory.entries where entry.flaw?.kind != .malformed {
            guard let table = try? BitmapTable.read(of: entry, header, file) else { continue }
            use(Int64(entry.tableOffset), bytes: Int64(entry.tableEntryCount) * 8)
            for value in table.entries {
                if let offset = BitmapTable.cluster(value) { use(offset, bytes: 1) }
            }
        }
        for number in 0...(try file.length() / cluster) {
            let count = Int(try writer.refcount(number))
            if count > used[number, default: 0] { leaks.append(number) }
            if count < used[number, default: 0] { lost.append(number) }
        }
    }
}
