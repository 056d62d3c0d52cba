/// Tables that were read or written once, so that they need not be read again.
///
/// A store can have more of them than memory should hold, by its size or because somebody made it
/// so. Those beyond a limit are read each time.
struct TableCache: Sendable {
    private var tables: [Reference: [Reference]] = [:]

    /// 64 MiB of them: 32 are what a bitmap of 16 TiB has at 64 KiB.
    static let countMax = 1 << 14

    subscript(table: Reference) -> [Reference]? { tables[table] }

    mutating func keep(_ references: [Reference], of table: Reference) {
        if tables.count < Self.countMax { tables[table] = references }
    }

    /// The references in a table, wherever they are.
    func read(
        _ table: Reference, _ file: any StoreFile
    ) throws(BitmapStoreError) -> [Reference] {
        if let found = tables[table] { return found }
        return Reference.decode(try BitReader.block(table, file), from: 0)
    }
}
