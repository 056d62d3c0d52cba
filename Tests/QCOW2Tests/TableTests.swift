import BlockStorage
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

@Suite struct TableTests {
    static func geometry(
        bits: Int = 16, subclusters: Bool = false, dataFile: Bool = false, version: Int = 3
    ) -> TableGeometry {
        var header = Header()
        header.version = version
        header.clusterBits = bits
        if subclusters { header.incompatible.insert(.extendedL2) }
        if dataFile { header.incompatible.insert(.dataFile) }
        return TableGeometry(header)
    }

    @Test(arguments: [9, 12, 16, 21])
    func `entries of every kind`(_ bits: Int) throws {
        let geometry = Self.geometry(bits: bits)
        let host = Int64(5) << Int64(bits)
        let far = (Int64(1) << 56) - Int64(1) << Int64(bits)
        for state in [
            ClusterState.unallocated, .zero(host: nil), .zero(host: host), .data(host: far),
            .compressed(offset: host + 77, length: 512 - Int(host + 77) % 512),
            .compressed(offset: host, length: 2 << bits),
        ] {
            for isCopied in [false, true] {
                switch state {
                case .unallocated, .zero(nil), .compressed: if isCopied { continue }
                default: break
                }
                let entry = L2Entry(state, isCopied: isCopied)
                let (word, bitmap) = entry.encoded(geometry)
                #expect(bitmap == 0)
                #expect(try L2Entry(word, geometry) == entry)
            }
        }
    }

    @Test func `subcluster entries`() throws {
        let geometry = Self.geometry(subclusters: true)
        for state in [
            ClusterState.unallocated, .zero(host: nil), .zero(host: 65536), .data(host: 65536),
            .subclusters(host: 65536, allocated: 0, zero: 0),
            .subclusters(host: 65536, allocated: 0xff, zero: 0xff00),
            .subclusters(host: nil, allocated: 0, zero: 1 << 31),
        ] {
            let (word, bitmap) = L2Entry(state).encoded(geometry)
            #expect(try L2Entry(word, bitmap: bitmap, geometry).state == state)
        }
    }

    @Test func `entries that can't be`() {
        let plain = Self.geometry()
        let copied = EntryBits.copied
        let compressed = EntryBits.compressed
        for word in [
            2, 0x100, 1 << 56, 1 << 61, 0x200, 0x18000, copied, copied | 1, copied | compressed,
        ] as [UInt64] {
            #expect(throws: EntryProblem.self) { _ = try L2Entry(word, plain) }
        }
        // With clusters of 512 bytes, offsets of compressed clusters have 61 bits.
        #expect(throws: EntryProblem.self) {
            _ = try L2Entry(compressed | 1 << 57, Self.geometry(bits: 9))
        }
        #expect(throws: EntryProblem.self) {
            _ = try L2Entry(1, Self.geometry(version: 2))
        }
        #expect(throws: EntryProblem.self) {
            _ = try L2Entry(compressed | 65536, Self.geometry(dataFile: true))
        }
        let parts = Self.geometry(subclusters: true)
        for (word, bitmap) in [
            (65536, 1 << 32 | 1), (0, 1), (65537, 0), (compressed | 65536, 1),
        ] as [(UInt64, UInt64)] {
            #expect(throws: EntryProblem.self) { _ = try L2Entry(word, bitmap: bitmap, parts) }
        }
        for word in [1, 1 << 56, 0x200, copied, compressed] as [UInt64] {
            #expect(throws: EntryProblem.self) { _ = try L1Entry(word, plain) }
        }
    }

    @Test func `the first cluster of a data file`() throws {
        let geometry = Self.geometry(dataFile: true)
        #expect(try L2Entry(EntryBits.copied, geometry).state == .data(host: 0))
        #expect(try L2Entry(0, geometry).state == .unallocated)
    }

    @Test func `a cache has what its file has`() throws {
        var random = RandomTest.generator(defaultSeed: 4)
        let tables = 64
        let words = (0..<(tables * 64)).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
        let file = HeldImage(words.bigEndianBytes())
        let cache = TableCache(file: file, tableBytes: 512, bytes: 5 * 512)
        #expect(cache.capacity == 5)
        for _ in 0..<2000 {
            let index = Int.random(in: 0..<tables, using: &random)
            if random.chance(percent: 10) { cache.forget(Int64(index * 512)) }
            let following = Int.random(in: 0...9, using: &random)
            let table = try cache.table(at: Int64(index * 512), following: following)
            #expect(table == Array(words[(index * 64)..<((index + 1) * 64)]), "\(random.replay)")
        }
        #expect(throws: StorageError.self) { _ = try cache.table(at: Int64(tables * 512)) }
        let before = file.bytesRead
        _ = try cache.table(at: 0)
        _ = try cache.table(at: 0)
        #expect(file.bytesRead <= before + 512)
        #expect(TableCache(file: file, tableBytes: 2 << 20, bytes: 0).capacity == 2)
    }

    @Test func `bytes and numbers`() {
        let words: [UInt64] = [0, 1, .max, 0x0102_0304_0506_0708]
        let bytes = words.bigEndianBytes()
        #expect(bytes[31] == 8 && bytes[24] == 1)
        #expect(bytes.bigEndianWords() == words)
        #expect((bytes + [5]).bigEndianWords() == words)
        #expect([UInt8]().bigEndianWords().isEmpty)
    }

    /// What the tables of an image may not say, and where the message says it is.
    @Test func `tables in the wrong place`() throws {
        func expect(_ message: String, _ change: (inout HandmadeImage) -> Void) {
            var image = HandmadeImage()
            image.l1 = [UInt64(image.cluster(0))]
            change(&image)
            let error = #expect(throws: StorageError.self) { _ = try image.layer() }
            #expect(error?.description.contains(message) == true, "\(error as Any)")
        }
        expect("131072: reserved bits") { $0.l1[0] |= 4 }
        expect("outside the file") { $0.l1[0] = UInt64($0.length) }
        expect("in the refcount table") { $0.l1[0] = 65536 }
        expect("in the L1 table") { $0.l1[0] = 131072 }
        expect("lies over the refcount table") {
            $0.header.l1Offset = 65536
            $0.l1 = []
        }
        expect("lies over the header") {
            $0.header.l1Offset = 0
            $0.l1 = []
        }
        expect("refcount table lies outside") { $0.header.refcountTableOffset = 1 << 40 }
        expect("the L1 table lies outside") {
            $0.header.l1Offset = 1 << 40
            $0.l1 = []
            $0.words = []
            $0.header.l1EntryCount = 1
        }
        expect("lead to the same L2 table") {
            $0 = HandmadeImage(size: 32 << 29)
            $0.l1 = [UInt64](repeating: UInt64($0.cluster(0)), count: 32)
        }
    }

    @Test func `clusters in the wrong place`() throws {
        func expect(_ message: String, _ word: UInt64) throws {
            var image = HandmadeImage()
            image.l1 = [UInt64(image.cluster(0))]
            image.words = [(image.cluster(0), [0, word])]
            let layer = try image.layer()
            #expect(try layer.extent(at: 0, limit: 1 << 20).length == 65536)
            let error = #expect(throws: StorageError.self) {
                _ = try layer.extent(at: 65536, limit: 1 << 20)
            }
            #expect(error?.description.contains(message) == true, "\(error as Any)")
        }
        try expect("at offset 196616: reserved bits", 2)
        try expect("lies over the refcount table", 65536)
        try expect("lies over the L1 table", 131072)
        try expect("the file ends", 1 << 30)
        try expect("the file ends", 1 << 62 | 1 << 30)
        try expect("lies over the header", 1 << 62 | 100)
    }
}
