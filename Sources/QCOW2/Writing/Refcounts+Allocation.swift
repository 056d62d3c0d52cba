internal import BlockStorage
internal import DirtyBitmap

/// Finding clusters that nobody uses. A cluster beyond the end of the file is as free as one inside
/// it whose refcount is 0; the file grows when somebody writes there.
extension Refcounts {
    /// Takes clusters side by side for data, as many as there are in a row, up to `count`.
    ///
    /// - Parameter step: the file grows by so many bytes at once.
    mutating func allocate(
        upTo count: Int, _ header: inout Header, step: Int64 = 1
    ) throws(StorageError) -> Range<Int64> {
        try search(least: 1, most: count, &header, step: step)
    }

    /// Takes so many clusters side by side.
    mutating func allocate(
        exactly count: Int, _ header: inout Header
    ) throws(StorageError) -> Range<Int64> {
        // A block that begins in free space stands itself at its beginning.
        if count < perBlock { return try search(least: count, most: count, &header) }
        let region = try reserveAtEnd(count, &header)
        return taken(region)
    }

    private mutating func search(
        least: Int, most: Int, _ header: inout Header, step: Int64 = 1
    ) throws(StorageError) -> Range<Int64> {
        let begin = cursor
        var cluster = begin
        while true {
            let (index, start) = (position(of: cluster).block, position(of: cluster).index)
            let base = Int64(index) * perBlock
            if !hasBlock(index) { try addBlock(index, &header) }
            if !full.contains(index) {
                try load(index)
                if let free = blocks[index].free(from: start, least: least, most: most) {
                    let all = (base + Int64(free.lowerBound))..<(base + Int64(free.upperBound))
                    try check(all)
                    let found = try reachable(all, least: least, step)
                    blocks[index].take(Int(found.lowerBound - base)..<Int(found.upperBound - base))
                    // Holes that were too small are still there for others, and so is what a
                    // moving table has left.
                    if least == 1 && cursor == begin { cursor = found.upperBound }
                    return taken(found)
                }
                if start == 0 && least == 1 { full.insert(index) }
            }
            cluster = base + perBlock
        }
    }

    /// As many of these clusters as the file can hold, at least so many.
    private mutating func reachable(
        _ clusters: Range<Int64>, least: Int, _ step: Int64
    ) throws(StorageError) -> Range<Int64> {
        var count = clusters.count
        while true {
            let end = clusters.lowerBound + Int64(count)
            do throws(StorageError) {
                try reach(end << Int64(clusterBits), step: step)
                return clusters.lowerBound..<end
            } catch {
                guard count > least else { throw error }
                count = max(least, count / 2)
            }
        }
    }

    private mutating func taken(_ clusters: Range<Int64>) -> Range<Int64> {
        freshFrom = max(freshFrom, clusters.upperBound)
        checkTaken(clusters)
        return clusters
    }

    /// The longest file that is made: half of what an offset in an image can be.
    private static let fileBytesMax: Int64 = 1 << 55

    /// What holds a table can't be free. Refcounts that say so would have us overwrite it.
    func check(_ clusters: Range<Int64>) throws(StorageError) {
        for cluster in clusters where occupied.contains(cluster) {
            throw damaged(
                at: cluster << Int64(clusterBits), "a table of the image is counted as free")
        }
        guard clusters.upperBound << Int64(clusterBits) <= Self.fileBytesMax else {
            throw .image(ImageProblem(.full, file.path, "a qcow2 image can't grow any larger"))
        }
    }

    /// Whether a cluster of data can be where it is said to be.
    func checkUsed(_ cluster: Int64) throws(StorageError) {
        guard occupied.contains(cluster) else { return }
        throw damaged(at: cluster << Int64(clusterBits), "a cluster of data lies over a table")
    }

    /// Adds the block that counts clusters none of which is used: it is the first of them itself.
    private mutating func addBlock(
        _ index: Int, _ header: inout Header
    ) throws(StorageError) {
        if index >= table.count { try growTable(toHold: index + 1, &header) }
        // The larger table may have taken these clusters.
        guard table[index] == 0 else { return }
        let cluster = Int64(index) * perBlock
        try check(cluster..<(cluster + 1))
        // Without a cluster behind it, it would be of no use.
        try reach((cluster + 2) << Int64(clusterBits))
        freshFrom = max(freshFrom, cluster + 1)
        try file.write(
            [UInt8](repeating: 0, count: Int(clusterSize)), at: cluster << Int64(clusterBits))
        insertNewBlock(index, at: cluster << Int64(clusterBits))
        blocks[index].take(0..<1)
    }
}

// MARK: Growing

extension Refcounts {
    /// Makes the first table and the first block, behind the header.
    mutating func bootstrap(_ header: inout Header) throws(StorageError) {
        header.refcountTableOffset = clusterSize
        header.refcountTableClusters = 1
        tableOffset = clusterSize
        table = [Int64](repeating: 0, count: entriesPerCluster)
        occupy(offset: clusterSize, clusters: 1)
        insertNewBlock(0, at: 2 * clusterSize)
        blocks[0].take(0..<3)
        cursor = 3
        freshFrom = max(freshFrom, 3)
        // Entries are written one by one later.
        try file.write([UInt8](repeating: 0, count: Int(clusterSize)), at: clusterSize)
    }

    /// The first block behind which there are no others.
    private var blockEnd: Int { (table.lastIndex { $0 != 0 } ?? -1) + 1 }

    /// Blocks that have to be added at the end to count themselves and `count` clusters.
    private func blocksNeeded(for count: Int) -> Int {
        var blocks = 1
        while Int64(blocks) * perBlock < Int64(blocks + count) { blocks += 1 }
        return blocks
    }

    /// Takes clusters behind everything that is counted, in as large a number as it may be, with
    /// the blocks that count them before them.
    private mutating func reserveAtEnd(
        _ count: Int, _ header: inout Header
    ) throws(StorageError) -> Range<Int64> {
        let needed = blocksNeeded(for: count)
        if blockEnd + needed > table.count { try growTable(toHold: blockEnd + needed, &header) }
        return try fillEnd(with: count, blocks: blocksNeeded(for: count))
    }

    /// Precondition: the table in memory has room.
    private mutating func fillEnd(
        with count: Int, blocks added: Int
    ) throws(StorageError) -> Range<Int64> {
        let firstBlock = blockEnd
        let first = Int64(firstBlock) * perBlock
        let end = first + Int64(added + count)
        try check(first..<end)
        try reach(end << Int64(clusterBits))
        for index in 0..<added {
            let base = first + Int64(index) * perBlock
            insertNewBlock(firstBlock + index, at: (first + Int64(index)) << Int64(clusterBits))
            let used = Int(min(perBlock, end - base))
            blocks[firstBlock + index].take(0..<used)
        }
        freshFrom = max(freshFrom, end)
        return (first + Int64(added))..<end
    }

    /// Moves the table to a place where it can be larger: behind all blocks, with its own blocks,
    /// and after that with room for `entries` of others. The old one stays until the header of the
    /// new one is on stable storage; until then memory has the old one too, and if there is no
    /// space for the new one nothing has happened.
    private mutating func growTable(
        toHold entries: Int, _ header: inout Header
    ) throws(StorageError) {
        try flush()
        let clustersMax = Int(Header.refcountTableBytesMax >> Int64(clusterBits))
        var clusters = header.refcountTableClusters
        clusters = min(clusters + clusters / 2 + 1, clustersMax)
        while true {
            let needed = max(entries, blockEnd) + blocksNeeded(for: clusters)
            if needed <= clusters * entriesPerCluster { break }
            clusters = needed.dividedRoundingUp(by: entriesPerCluster)
            guard clusters <= clustersMax else {
                throw .image(
                    ImageProblem(
                        .full, file.path, "the refcount table can't grow any larger",
                        remedy: "Use larger clusters, or narrower refcounts."))
            }
        }
        let old = (offset: tableOffset, clusters: header.refcountTableClusters)
        var grown = self
        var changed = header
        grown.table += [Int64](repeating: 0, count: clusters * entriesPerCluster - table.count)
        let place = try grown.fillEnd(with: clusters, blocks: blocksNeeded(for: clusters))
        // Whatever becomes of this, there may be something.
        freshFrom = max(freshFrom, grown.freshFrom)
        let offset = place.lowerBound << Int64(clusterBits)
        changed.refcountTableOffset = offset
        changed.refcountTableClusters = clusters
        try grown.writeAll(at: offset)
        grown.occupy(offset: offset, clusters: clusters)
        try file.sync()
        try file.write(try changed.encoded(for: file.path), at: 0)
        try file.sync()
        self = grown
        header = changed
        checkInvariants()
        guard old.clusters > 0 else { return }
        vacate(offset: old.offset, clusters: old.clusters)
        try release(header.clusters(at: old.offset, count: old.clusters))
    }

    /// Writes the whole table, and the blocks that no other has.
    private mutating func writeAll(at offset: Int64) throws(StorageError) {
        var bytes = [UInt8](repeating: 0, count: table.count * 8)
        for (index, block) in table.enumerated() { bytes.put(UInt64(block), at: index * 8) }
        try file.write(bytes, at: offset)
        for index in dirtyEntries.sorted() {
            try write(index)
        }
        dirtyEntries = []
        tableOffset = offset
    }
}
