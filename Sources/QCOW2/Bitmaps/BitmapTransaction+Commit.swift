internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// The image is valid, with the bitmaps from before or those from after, whenever the process dies:
// everything new goes into clusters of its own, and one write of the header makes it true. Then the
// old clusters are free.

extension BitmapTransaction {
    static var leakNote: String {
        "Some clusters of the bitmaps that are gone stay allocated, since the image does not say "
            + "surely which: `qemu-img check -r leaks` frees them."
    }

    /// Where new bits go.
    private struct Placement {
        let slot: Int
        /// As the table is going to be, but with 1 for each cluster that has bits set.
        var table: [UInt64]
        var dataClusters: Int
        var tableClusters: Int
    }

    /// Brings all changes into the image; does nothing if there are none.
    ///
    /// - Returns: sentences for the user.
    mutating func commit(_ writer: any MetadataWriter) throws(StorageError) -> [String] {
        guard isChanged else { return [] }
        checkInvariants()
        let dropped = removed + slots.filter { $0.pending != nil }.compactMap(\.before)
        let kept = slots.filter { $0.pending == nil }.map(\.entry)
        var reclaim = BitmapReclaim(header, file)
        try reclaim.keep(kept)
        try reclaim.drop(dropped)
        reclaim.drop(directory)

        guard !slots.isEmpty else {
            try writer.update(writer.header.withoutBitmaps)
            return try reclaim.free(writer) ? [] : [Self.leakNote]
        }
        var placements: [Placement] = []
        for index in slots.indices { if let place = placement(index) { placements.append(place) } }
        let directoryBytes = slots.reduce(0) { $0 + $1.entry.byteCount }
        let directoryClusters = header.clusters(for: Int64(directoryBytes))
        let total = placements.reduce(directoryClusters) {
            $0 + $1.dataClusters + $1.tableClusters
        }
        // A header without room is better found before anything is written.
        _ = try newHeader(writer.header, directoryBytes, offset: 0).encoded(for: file.path)
        let start = try writer.allocate(clusters: total)
        let end = start + Int64(total) * header.clusterSize
        do throws(StorageError) {
            try write(placements, directoryClusters, in: start..<end)
        } catch {
            try? writer.free(offset: start, clusters: total)
            throw error
        }
        let directoryOffset = end - Int64(directoryClusters) * header.clusterSize
        // If this fails, nobody knows which of both directories is the true one: both stay.
        try writer.update(newHeader(writer.header, directoryBytes, offset: directoryOffset))
        reclaim.keep(offset: start, clusters: total)
        return try reclaim.free(writer) ? [] : [Self.leakNote]
    }

    private func newHeader(_ header: Header, _ byteCount: Int, offset: Int64) -> Header {
        var header = header.withoutBitmaps
        header.set(
            .bitmaps,
            BitmapDirectory.headerExtension(
                count: slots.count, byteCount: byteCount, offset: offset))
        header.autoclear.insert(.bitmaps)
        return header
    }

    /// What the new bits of a slot take; nil if it has none.
    private func placement(_ index: Int) -> Placement? {
        guard let pending = slots[index].pending else { return nil }
        let extent = BitmapExtent(
            header, granularityBits: slots[index].entry.granularityBits)
        let count = Int(extent.clusterCount)
        let bitsPerCluster = Int(header.clusterSize) * 8
        var table = [UInt64](repeating: 0, count: count)
        let geometry = pending.bits.geometry
        var used = 0
        for cluster in 0..<count {
            let first = cluster * bitsPerCluster
            let bits = first..<min(first + bitsPerCluster, geometry.granuleCount)
            guard pending.bits.containsDirty(in: geometry.bytes(ofGranules: bits)) else { continue }
            table[cluster] = 1
            used += 1
        }
        return Placement(
            slot: index, table: table, dataClusters: used,
            tableClusters: header.clusters(forEntries: count))
    }

    /// Writes bits, tables and the directory, in this order, side by side. They fill the range.
    private mutating func write(
        _ placements: [Placement], _ directoryClusters: Int, in range: Range<Int64>
    ) throws(StorageError) {
        var offset = range.lowerBound
        for var placement in placements {
            guard let pending = slots[placement.slot].pending else {
                preconditionFailure("only new bits have a placement")
            }
            try write(pending.bits, &placement.table, at: offset)
            offset += Int64(placement.dataClusters) * header.clusterSize
            var bytes = [UInt8](
                repeating: 0, count: placement.tableClusters * Int(header.clusterSize))
            for index in placement.table.indices {
                bytes.put(placement.table[index], at: index * 8)
            }
            try file.write(bytes, at: offset)
            slots[placement.slot].entry.tableOffset = UInt64(offset)
            slots[placement.slot].entry.tableEntryCount = UInt32(placement.table.count)
            offset += Int64(placement.tableClusters) * header.clusterSize
        }
        var bytes = BitmapDirectory.encoded(slots.map(\.entry))
        bytes += [UInt8](
            repeating: 0, count: directoryClusters * Int(header.clusterSize) - bytes.count)
        // What the directory refers to is there before it is, although nothing leads to either yet:
        // whoever repairs an image by looking for directories finds none that lies.
        try file.sync()
        precondition(
            offset + Int64(bytes.count) == range.upperBound,
            "the directory would be written beside the clusters that were taken for it")
        try file.write(bytes, at: offset)
    }

    /// Writes the clusters of bits that `table` asks for, and puts their offsets into it.
    private func write(
        _ bits: borrowing DirtyBitmap, _ table: inout [UInt64], at start: Int64
    ) throws(StorageError) {
        let clusterSize = Int(header.clusterSize)
        let wordsPerCluster = clusterSize / 8
        let bufferMax = max(clusterSize, 1 << 20)
        var buffer: [UInt8] = []
        var offset = start
        for index in table.indices where table[index] != 0 {
            table[index] = UInt64(offset) + UInt64(buffer.count)
            assert(table[index] & ~EntryBits.offset == 0, "bits are no cluster")
            let first = index * wordsPerCluster
            let last = min(first + wordsPerCluster, bits.wordCount)
            bits.serialize(words: first..<last, into: &buffer)
            buffer += [UInt8](repeating: 0, count: (first + wordsPerCluster - last) * 8)
            guard buffer.count + clusterSize > bufferMax else { continue }
            try file.write(buffer, at: offset)
            offset += Int64(buffer.count)
            buffer.removeAll(keepingCapacity: true)
        }
        if !buffer.isEmpty { try file.write(buffer, at: offset) }
    }
}
