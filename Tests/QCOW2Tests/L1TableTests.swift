import BlockStorage
import Testing

@testable import QCOW2

/// The one reader of L1 tables, by who asks.
@Suite struct L1TableTests {
    private static let cluster = 65536

    /// An image of these clusters, whose L1 table in cluster 3 has these entries.
    private func file(_ entries: [UInt64], bytes: Int = 8 * Self.cluster) -> (Header, MemoryImage) {
        var header = Header()
        header.size = Int64(entries.count) * header.l2Coverage
        header.l1Offset = Int64(3 * Self.cluster)
        header.l1EntryCount = entries.count
        var content = [UInt8](repeating: 0, count: bytes)
        for (index, entry) in entries.enumerated() {
            content.put(entry, at: 3 * Self.cluster + index * 8)
        }
        return (header, MemoryImage(content))
    }

    private func read(
        _ entries: [UInt64], bytes: Int = 8 * Self.cluster, _ strictness: L1Table.Strictness
    ) throws -> [L1Entry] {
        let (header, file) = file(entries, bytes: bytes)
        return try L1Table.read(of: header, in: file, strictness: strictness)
    }

    private func problem(
        _ entries: [UInt64], bytes: Int = 8 * Self.cluster, _ strictness: L1Table.Strictness
    ) -> String {
        do {
            _ = try read(entries, bytes: bytes, strictness)
            return ""
        } catch {
            return "\(error)"
        }
    }

    private let copied = EntryBits.copied
    private let table = UInt64(5 * Self.cluster)

    @Test func `good entries are the same to everybody`() throws {
        let words = [0, table, copied | table]
        for strictness in [L1Table.Strictness.reading(apartFrom: []), .writing] {
            let entries = try read(words, strictness)
            #expect(entries.map(\.encoded) == words)
            #expect(entries.map(\.offset) == [0, Int64(table), Int64(table)])
            #expect(entries.map(\.isCopied) == [false, false, true])
        }
    }

    @Test func `entries that make no sense are refused to everybody`() {
        for word in [1, 1 << 56, table + 512, copied, table | 1 << 62] as [UInt64] {
            #expect(problem([word], .reading(apartFrom: [])) != "", "\(word)")
            #expect(problem([word], .writing).contains("an L2 table can't be at \(word)"))
        }
    }

    @Test func `a table that is cut off by the end of the file can be written`() throws {
        let bytes = Int(table) + 512
        #expect(
            problem([table], bytes: bytes, .reading(apartFrom: [])).contains("outside the file"))
        #expect(try read([table], bytes: bytes, .writing).count == 1)
        #expect(problem([table], bytes: Int(table), .writing) != "")
    }

    @Test func `a reader wants the whole table, and a writer what there is`() throws {
        let (header, file) = file([0, 0])
        try file.resize(to: header.l1Offset + 8)
        let said = #expect(throws: StorageError.self) {
            try L1Table.read(of: header, in: file, strictness: .reading(apartFrom: []))
        }
        #expect("\(said as Any)".contains("the file ends in the L1 table"))
        let entries = try L1Table.read(of: header, in: file, strictness: .writing)
        #expect(entries == [.none, .none])
    }

    @Test func `a reader is told what a table lies over`() {
        let region = MetadataRegion(range: Int64(table)..<Int64(table) + 1, what: "snapshot table")
        #expect(
            problem([table], .reading(apartFrom: [region])).contains(
                "should be at \(table), which is in the snapshot table"))
        #expect(problem([table], .writing) == "")
    }
}
