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
    var tables = LoadedPieces<TargetTable>()
    /// Tables with changes that are not sealed.
    var dirtyTables: Set<Int> = []
    /// What the next commit writes.
    var sealed: [Int: SealedTable] = [:]
    /// Tables that a commit is writing.
    var committing: Set<Int> = []
    /// Clusters that no table in memory refers to any more, and some on stable storage may.
    var dropped: [HostClusters] = []
    var sealedDrops: [HostClusters] = []
    /// Clusters whose bytes have not come, in part, and to which some may still be on their way.
    var abandoned: [HostClusters] = []
    /// Whether anything may be to be made last that is not sealed.
    var hasStarted = false

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

    /// The bytes of the disk that are in a cluster.
    func bytes(of position: ClusterPosition) -> Range<Int64> {
        let start = geometry.start(of: position)
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
        guard !tables.contains(index) else { return tables.touch(index) }
        makeRoom()
        let entry = l1[index]
        guard entry != .none else {
            let words = [UInt64](repeating: 0, count: geometry.wordsPerTable)
            return tables.insert(TargetTable(words: words, host: 0, shared: 0), at: index)
        }
        let bytes = try writer.file.readFilled(
            at: entry.offset, count: Int(geometry.clusterSize))
        tables.insert(
            TargetTable(
                words: bytes.bigEndianWords(), host: entry.isCopied ? entry.offset : 0,
                shared: entry.isCopied ? 0 : entry.offset),
            at: index)
    }

    /// Takes the cluster to which a table is going to be written, unless it has one: what is placed
    /// can be committed without any more space.
    ///
    /// Precondition: the table is in memory.
    mutating func reserve(_ index: Int) throws(StorageError) {
        guard tables[index].host == 0 else { return }
        tables[index].host = try writer.allocateTable()
    }

    /// Whether a table has a cluster to which the image doesn't lead yet.
    private func hasReserved(_ index: Int, _ table: TargetTable) -> Bool {
        table.host != 0 && table.host != l1[index].offset
    }

    /// Gives back the clusters of tables in which nothing was changed in the end.
    mutating func releaseReserved() throws(StorageError) {
        for index in tables.numbers where sealed[index] == nil {
            precondition(committing.isEmpty, "the cluster of a table that is being written")
            let table = tables[index]
            guard hasReserved(index, table) else { continue }
            assert(table.isClean, "the cluster of a table that has changed is given back")
            tables[index].host = 0
            try writer.releaseTable(offset: table.host)
        }
    }

    private mutating func makeRoom() {
        let limit = max(8, Self.cacheBytesMax >> geometry.clusterBits)
        guard tables.count >= limit else { return }
        tables.remove(
            tables.leastUsed(limit / 4) { index, table in
                table.isClean && sealed[index] == nil && !committing.contains(index)
                    && !hasReserved(index, table)
            })
    }

    /// What a table in memory says about a cluster.
    func entry(at position: ClusterPosition) throws(StorageError) -> L2Entry {
        do throws(EntryProblem) {
            return try tables[position.table].entry(position.index, geometry)
        } catch {
            let offset = l1[position.table].offset + geometry.byteOffset(of: position.index)
            throw .damaged(writer.file.path, at: offset, error.what)
        }
    }

    /// The cluster at a position that waits for bytes; nil if none does.
    func pending(at position: ClusterPosition) -> PendingCluster? {
        tables[position.table].pending[position.index]
    }

    mutating func set(_ position: ClusterPosition, to entry: L2Entry) {
        tables[position.table].set(position.index, entry, geometry)
        dirtyTables.insert(position.table)
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
