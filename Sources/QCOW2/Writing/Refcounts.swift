internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// Where a refcount is.
struct RefcountPosition {
    /// Which of the blocks has it.
    let block: Int
    /// Which of the block's counts it is.
    let index: Int
}

/// How often each cluster of an image is referred to, for whoever writes the image.
///
/// Changes stay in memory until `flush`. That may happen at any time: clusters are counted before
/// anything refers to them, and are counted off only when nothing on stable storage does any more,
/// so that what is on stable storage is never less than the truth.
struct Refcounts: Sendable {
    let file: any ImageFile
    let clusterBits: Int
    let order: Int
    /// Where the blocks are, in bytes; 0 where there is none.
    var table: [Int64] = []
    /// Where the table is, in bytes.
    var tableOffset: Int64 = 0
    /// Entries of the table that stable storage doesn't have.
    var dirtyEntries: Set<Int> = []
    var blocks = LoadedPieces<RefcountBlock>()
    /// Blocks that have been searched from their beginning, and had nothing free.
    var full: Set<Int> = []
    /// Where the search for free clusters goes on. Nothing before it is known to be free.
    var cursor: Int64 = 0
    /// Clusters from here on have never held anything: they read as zeros.
    var freshFrom: Int64
    /// Bytes of the file, as far as is known without asking.
    var length: Int64 = 0
    /// Clusters that hold the tables of the image. They can't be free.
    var occupied: Set<Int64> = []

    /// What the blocks in memory take at most, unless fewer than `blockCountMin` are more.
    private static let cacheBytesMax = 16 << 20
    private static let blockCountMin = 8

    var clusterSize: Int64 { 1 << Int64(clusterBits) }
    /// Clusters that one block counts.
    var perBlock: Int64 { (clusterSize * 8) >> Int64(order) }
    var entriesPerCluster: Int { Int(clusterSize / 8) }

    /// The refcounts of an image that is there.
    init(file: any ImageFile, header: Header) throws(StorageError) {
        try self.init(file: file, clusterBits: header.clusterBits, order: header.refcountOrder)
        let start = header.refcountTableOffset
        let count = header.refcountTableClusters * entriesPerCluster
        guard start >= clusterSize, count > 0 else {
            throw damaged(at: 48, "the refcount table is missing")
        }
        tableOffset = start
        let length = try file.length()
        guard start < length else {
            throw damaged(at: 48, "the refcount table at \(start) is not in the file")
        }
        let bytes = try file.readFilled(at: start, count: count * 8)
        table.reserveCapacity(count)
        for index in 0..<count {
            let value = bytes.bigEndian64(at: index * 8)
            let offset = Int64(value & EntryBits.offset)
            guard value == UInt64(offset), offset & (clusterSize - 1) == 0,
                offset == 0 || (offset >= clusterSize && offset < length)
            else {
                throw damaged(
                    at: start + Int64(index) * 8, "a block of refcounts can't be at \(value)")
            }
            table.append(offset)
            if offset != 0 { occupied.insert(offset >> Int64(clusterBits)) }
        }
        occupy(offset: start, clusters: header.refcountTableClusters)
        guard table[0] != 0 else { throw damaged(at: start, "nothing is counted as used") }
        checkInvariants()
    }

    /// No refcounts yet.
    init(file: any ImageFile, clusterBits: Int, order: Int) throws(StorageError) {
        self.file = file
        self.clusterBits = clusterBits
        self.order = order
        freshFrom = try file.length().dividedRoundingUp(by: 1 << Int64(clusterBits))
        occupied.insert(0)
    }

    mutating func occupy(offset: Int64, clusters: Int) {
        let first = offset >> Int64(clusterBits)
        for cluster in first..<(first + Int64(clusters)) { occupied.insert(cluster) }
    }

    mutating func vacate(offset: Int64, clusters: Int) {
        let first = offset >> Int64(clusterBits)
        for cluster in first..<(first + Int64(clusters)) { occupied.remove(cluster) }
    }

    /// Where the refcount of a cluster is.
    func position(of cluster: Int64) -> RefcountPosition {
        RefcountPosition(block: Int(cluster / perBlock), index: Int(cluster % perBlock))
    }

    /// Whether there is a block of this number. Where there is none, nothing is in use.
    func hasBlock(_ block: Int) -> Bool { block < table.count && table[block] != 0 }

    /// The refcount of a cluster.
    mutating func count(of cluster: Int64) throws(StorageError) -> UInt64 {
        let position = position(of: cluster)
        guard hasBlock(position.block) else { return 0 }
        try load(position.block)
        return blocks[position.block][position.index]
    }

    /// Takes one reference from each of these clusters, to which nothing on stable storage refers
    /// any more.
    mutating func release(_ clusters: Range<Int64>) throws(StorageError) {
        for cluster in clusters {
            let count = try count(of: cluster)
            guard count > 0 else {
                throw damaged(
                    at: cluster << Int64(clusterBits), "a cluster is in use and counted as free")
            }
            let position = position(of: cluster)
            blocks[position.block][position.index] = count - 1
            if count == 1 {
                cursor = min(cursor, cluster)
                full.remove(position.block)
            }
        }
    }

    /// Makes the file at least so long, in steps of `step` bytes if it can be had, before anything
    /// in it is taken: nothing is taken that the file can't hold.
    mutating func reach(_ end: Int64, step: Int64 = 1) throws(StorageError) {
        // Also where it ends just there: the last bytes would make a file whole again that
        // something else has truncated.
        guard end >= length else { return }
        length = try lengthNow()
        guard end > length else { return }
        let ahead = end.dividedRoundingUp(by: step) * step
        do throws(StorageError) {
            try file.resize(to: ahead)
            length = ahead
        } catch {
            // What is asked for may still be within the limit.
            guard ahead > end else { throw error }
            try file.resize(to: end)
            length = end
        }
    }

    /// How long the file is. Nobody else may make it shorter: what it then had is lost, and growing
    /// it again would hide that.
    func lengthNow() throws(StorageError) -> Int64 {
        let now = try file.length()
        guard now < length, !file.isDisk else { return now }
        throw .writtenByOther(
            path: file.path, writer: "it had \(length) bytes, and was truncated to \(now)")
    }

    /// The end of the last cluster in use, in bytes. `floor` if it is before that.
    mutating func usedEnd(from end: Int64, floor: Int64) throws(StorageError) -> Int64 {
        var cluster = end.dividedRoundingUp(by: clusterSize)
        while cluster << Int64(clusterBits) > floor {
            let block = position(of: cluster - 1).block
            guard hasBlock(block) else {
                // Nothing is counted for as long as there is no block.
                cluster = Int64(block) * perBlock
                continue
            }
            if try count(of: cluster - 1) != 0 { return cluster << Int64(clusterBits) }
            cluster -= 1
        }
        return floor
    }

    func damaged(at offset: Int64, _ what: String) -> StorageError {
        .damaged(file.path, at: offset, what)
    }
}

// MARK: Blocks in memory

extension Refcounts {
    /// Brings a block into memory.
    ///
    /// Precondition: there is a block of this number.
    mutating func load(_ index: Int) throws(StorageError) {
        guard !blocks.contains(index) else { return blocks.touch(index) }
        precondition(table[index] != 0, "the header would be read as refcounts")
        try makeRoom()
        let bytes = try file.readFilled(at: table[index], count: Int(clusterSize))
        blocks.insert(RefcountBlock(bytes: bytes, order: order), at: index)
    }

    /// Puts a block into memory that stable storage doesn't have, all free.
    mutating func insertNewBlock(_ index: Int, at offset: Int64) {
        precondition(table[index] == 0, "a block of refcounts would be replaced by an empty one")
        let bytes = [UInt8](repeating: 0, count: Int(clusterSize))
        var block = RefcountBlock(bytes: bytes, order: order)
        block.isDirty = true
        blocks.insert(block, at: index)
        table[index] = offset
        dirtyEntries.insert(index)
        occupied.insert(offset >> Int64(clusterBits))
    }

    /// Lets go of what wasn't used for long.
    private mutating func makeRoom() throws(StorageError) {
        let limit = max(Self.blockCountMin, Self.cacheBytesMax >> clusterBits)
        guard blocks.count >= limit else { return }
        try flush()
        blocks.remove(blocks.leastUsed(limit / 4) { _, block in !block.isDirty })
    }

    /// Writes what has changed. It lasts after the next sync of the file.
    mutating func flush() throws(StorageError) {
        try Self.flush(file) { (step) throws(StorageError) in try step(&self) }
    }

    /// A part of a flush. Returns the blocks for whose entries a sync has to come first.
    typealias FlushStep = (inout Refcounts) throws(StorageError) -> Set<Int>

    /// The same where others may change the refcounts between two steps, as during a sync.
    ///
    /// - Parameters:
    ///   - file: the file that has them.
    ///   - take: carries out one step.
    static func flush(
        _ file: any ImageFile, take: (FlushStep) throws(StorageError) -> Set<Int>
    ) throws(StorageError) {
        var new = try take { (refcounts) throws(StorageError) in try refcounts.writeBlocks() }
        while !new.isEmpty {
            try file.sync()
            new = try take { (refcounts) throws(StorageError) in
                try refcounts.writeEntries(of: new)
            }
        }
    }

    /// Writes the blocks that have changed.
    ///
    /// - Returns: those to which the table doesn't lead yet.
    private mutating func writeBlocks() throws(StorageError) -> Set<Int> {
        checkInvariants()
        for index in blocks.numbers where blocks[index].isDirty { try write(index) }
        return dirtyEntries
    }

    /// Has the table lead to blocks that are on stable storage, but not to those that are counted
    /// by a block to which it doesn't lead yet.
    ///
    /// - Returns: those, for which a sync has to come first.
    private mutating func writeEntries(of new: Set<Int>) throws(StorageError) -> Set<Int> {
        // The table may have moved meanwhile, with entries for all.
        let waiting = new.intersection(dirtyEntries)
        let entries = waiting.filter { index in
            let counting = position(of: table[index] >> Int64(clusterBits)).block
            return counting == index || !dirtyEntries.contains(counting)
        }
        precondition(
            waiting.isEmpty || !entries.isEmpty, "blocks of refcounts that count each other")
        try writeEntries(entries.sorted())
        dirtyEntries.subtract(entries)
        return waiting.subtracting(entries)
    }

    /// Writes a block that is in memory.
    mutating func write(_ index: Int) throws(StorageError) {
        precondition(table[index] >= clusterSize, "refcounts would be written over the header")
        try file.write(blocks[index].bytes, at: table[index])
        blocks[index].isDirty = false
    }

    /// Writes entries of the table, those side by side at once.
    private func writeEntries(_ indices: [Int]) throws(StorageError) {
        var position = 0
        while position < indices.count {
            var end = position + 1
            while end < indices.count, indices[end] == indices[end - 1] + 1 { end += 1 }
            let words = table[indices[position]...indices[end - 1]].map { UInt64($0) }
            try file.write(
                words.bigEndianBytes(), at: tableOffset + Int64(indices[position]) * 8)
            position = end
        }
    }
}

// MARK: Checking

extension Refcounts {
    /// What every change leaves true. Complexity: O(blocks in memory) in a debug build, nothing in
    /// a release build.
    func checkInvariants() {
        #if DEBUG
            let mask = clusterSize - 1
            assert(tableOffset & mask == 0, "the refcount table is no cluster")
            assert(cursor >= 0 && freshFrom >= 0)
            assert(occupied.contains(0), "the header's cluster can be taken")
            for index in dirtyEntries {
                assert(blocks.contains(index), "a block that was never written is not in memory")
            }
            for index in blocks.numbers {
                assert(hasBlock(index), "a block has no place")
                assert(table[index] & mask == 0, "a block is no cluster")
                assert(blocks[index].bytes.count == clusterSize, "a block has another length")
                assert(
                    occupied.contains(table[index] >> Int64(clusterBits)),
                    "a block's cluster can be taken")
            }
            for index in full { assert(hasBlock(index), "a block that isn't there is full") }
        #endif
    }

    /// What is true of clusters that were just taken. O(clusters).
    func checkTaken(_ clusters: Range<Int64>) {
        #if DEBUG
            assert(!clusters.isEmpty && clusters.lowerBound > 0, "the header was taken")
            assert(freshFrom >= clusters.upperBound, "what was taken would be taken for zeros")
            assert(
                length >= clusters.upperBound << Int64(clusterBits),
                "the file can't hold what was taken")
            for cluster in clusters {
                assert(!occupied.contains(cluster), "a table can be overwritten")
                let position = position(of: cluster)
                assert(hasBlock(position.block), "what was taken is not counted")
                guard blocks.contains(position.block) else { continue }
                assert(blocks[position.block][position.index] == 1, "what was taken is not counted")
            }
        #endif
    }
}
