internal import BlockStorage

/// What `QCOW2Target` protects: the tables of the image, and what of them is on stable storage.
///
/// A cluster goes through these steps, each on stable storage before the next: it is counted; it
/// has its bytes; a table leads to it; what it replaces is counted off.
struct TargetState: Sendable {
    let writer: ImageWriter
    let geometry: TableGeometry
    /// Bytes of the disk.
    let size: Int64
    /// What is below and in compressed clusters; nil if there is neither.
    let content: (any OldContent)?
    let hasBacking: Bool
    /// As stable storage has it.
    var l1: [L1Entry]
    var tables: [Int: TargetTable] = [:]
    /// Tables with changes that are not sealed.
    var dirtyTables: Set<Int> = []
    /// What the next commit writes.
    var sealed: [Int: SealedTable] = [:]
    /// Clusters that no table in memory refers to any more, and some on stable storage may.
    var dropped: [HostClusters] = []
    var sealedDrops: [HostClusters] = []
    /// Whether anything may be to be made last that is not sealed.
    var hasStarted = false
    var isFinished = false
    private var clock = 0

    /// Tables in memory take so much at most, unless all of them are in use; and the changed ones
    /// among them.
    private static let cacheBytesMax = 64 << 20
    private static let dirtyBytesMax = 32 << 20

    init(
        writer: ImageWriter, content: (any OldContent)?, size: Int64
    ) throws(StorageError) {
        let header = writer.header
        self.writer = writer
        self.content = content
        geometry = TableGeometry(header)
        self.size = size
        hasBacking = header.backingFile != nil
        l1 = try L1Table.read(of: header, in: writer.file, strictness: .writing)
    }

    /// Whether so much has changed that it has to be written before more does.
    var isOverfull: Bool {
        (dirtyTables.count + sealed.count) << geometry.clusterBits > Self.dirtyBytesMax
    }

    /// The bytes of the disk that are in the cluster at `index` of a table.
    func bytes(_ table: Int, _ index: Int) -> Range<Int64> {
        let start =
            Int64(table) << Int64(geometry.coverageBits)
            + Int64(index) << Int64(geometry.clusterBits)
        return start..<min(start + geometry.clusterSize, size)
    }

    /// The parts of a cluster that a range of the disk touches: all of them where they have no
    /// state of their own.
    func parts(touching range: Range<Int64>) -> UInt32 {
        guard geometry.hasSubclusters else { return .max }
        let mask = geometry.clusterSize - 1
        let first = UInt32((range.lowerBound & mask) >> Int64(geometry.pieceBits))
        let last = UInt32(((range.upperBound - 1) & mask) >> Int64(geometry.pieceBits))
        return (UInt32.max << first) & (UInt32.max >> (31 - last))
    }

    // MARK: Tables in memory

    /// Brings a table into memory.
    mutating func load(_ index: Int) throws(StorageError) {
        clock += 1
        if tables[index] == nil {
            makeRoom()
            let entry = l1[index]
            let offset = entry.offset
            if entry == .none {
                let words = [UInt64](repeating: 0, count: geometry.wordsPerTable)
                tables[index] = TargetTable(words: words, host: 0, shared: 0)
            } else {
                let file = writer.file
                let bytes = try file.readFilled(at: offset, count: Int(geometry.clusterSize))
                tables[index] = TargetTable(
                    words: bytes.bigEndianWords(), host: entry.isCopied ? offset : 0,
                    shared: entry.isCopied ? 0 : offset)
            }
        }
        let now = clock
        tables[index]?.lastUse = now
    }

    /// Takes the cluster to which a table is going to be written, unless it has one: what is placed
    /// can be committed without any more space.
    mutating func reserve(_ index: Int) throws(StorageError) {
        guard tables[index]?.host == 0 else { return }
        let host = try writer.allocateTable()
        tables[index]?.host = host
    }

    /// Whether a table has a cluster to which the image doesn't lead yet.
    private func hasReserved(_ index: Int) -> Bool {
        guard let host = tables[index]?.host, host != 0 else { return false }
        return host != l1[index].offset
    }

    /// Gives back the clusters of tables in which nothing was changed in the end.
    mutating func releaseReserved() throws(StorageError) {
        for index in tables.keys.sorted() where hasReserved(index) && sealed[index] == nil {
            guard let host = tables[index]?.host else { continue }
            tables[index]?.host = 0
            try writer.releaseTable(offset: host)
        }
    }

    private mutating func makeRoom() {
        let limit = max(8, Self.cacheBytesMax >> geometry.clusterBits)
        guard tables.count >= limit else { return }
        let idle = tables.filter {
            $0.value.isClean && sealed[$0.key] == nil && !hasReserved($0.key)
        }
        .sorted { $0.value.lastUse < $1.value.lastUse }
        for (index, _) in idle.prefix(limit / 4) { tables[index] = nil }
    }

    /// What a table in memory says about a cluster.
    func entry(_ table: Int, _ index: Int) throws(StorageError) -> L2Entry {
        do throws(EntryProblem) {
            guard let found = tables[table] else { return L2Entry(.unallocated) }
            return try found.entry(index, geometry)
        } catch {
            let offset = l1[table].offset
            throw .damaged(
                writer.file.path, at: offset + Int64(index * geometry.wordsPerEntry * 8),
                error.what)
        }
    }

    mutating func set(_ table: Int, _ index: Int, _ entry: L2Entry) {
        let geometry = geometry
        tables[table]?.set(index, entry, geometry)
        dirtyTables.insert(table)
    }

    /// Notes that a table in memory doesn't refer any more to what an entry of it referred to.
    mutating func drop(_ state: ClusterState) {
        if let clusters = HostClusters(state, geometry) { dropped.append(clusters) }
    }
}

/// A table as it was when it was sealed.
struct SealedTable: Sendable {
    var words: [UInt64]
    /// Those that differ from what stable storage has.
    var changed: Range<Int>
}
