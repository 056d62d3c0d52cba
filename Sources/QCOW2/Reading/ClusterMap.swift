internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// Where the tables of one image say that its clusters are. Whether there is anything at those
/// places is not looked at.
struct ClusterMap: Sendable {
    let geometry: TableGeometry
    /// Offsets of the L2 tables; 0 where there is none.
    let tables: [UInt64]
    let cache: TableCache
    let path: FilePath

    /// The most tables that one question looks into, so that its cost is bounded.
    private static let visitsMax = 32

    /// The longest stretch of one kind from `offset` on, up to `limit`, or until enough tables have
    /// been looked into.
    func extent(at offset: Int64, limit: Int64) throws(StorageError) -> LayerExtent {
        let content = try content(at: offset)
        if case .compressed = content {
            let end = (offset + 1).roundedUp(to: geometry.clusterSize)
            return LayerExtent(content: content, length: min(limit, end) - offset)
        }
        var end = offset
        var visits = 0
        while end < limit, visits < Self.visitsMax {
            let index = geometry.l1Index(of: end)
            guard tables[index] != 0 else {
                guard content == .unallocated else { break }
                let last = geometry.l1Index(of: limit - 1)
                let next = firstWord(in: tables.span, flip: 0, range: index..<(last + 1))
                end = min(limit, geometry.start(ofTable: next))
                continue
            }
            visits += 1
            let words = try table(index)
            let start = geometry.start(ofTable: index)
            let limit = min(limit, start + 1 << Int64(geometry.coverageBits))
            let run = TableRun(
                geometry: geometry, content: content, origin: offset, tableStart: start)
            end = min(limit, run.end(in: words.span, from: end, limit: limit))
            if end < limit { break }
        }
        // Whatever a file does that changes meanwhile: who asks gets ahead.
        if end == offset { end = min(limit, (offset + 1).roundedUp(to: geometry.pieceSize)) }
        return LayerExtent(content: content, length: end - offset)
    }

    private func table(_ index: Int) throws(StorageError) -> [UInt64] {
        let offset = Int64(tables[index])
        // Tables that follow each other on the disk and in the file are read together.
        var following = 0
        while following + 1 < cache.batchMax, index + following + 1 < tables.count,
            Int64(tables[index + following + 1]) - offset
                == Int64(following + 1) << Int64(geometry.clusterBits)
        { following += 1 }
        return try cache.table(at: offset, following: following)
    }

    private func content(at offset: Int64) throws(StorageError) -> LayerExtent.Content {
        let position = geometry.position(of: offset)
        guard tables[position.table] != 0 else { return .unallocated }
        let words = try table(position.table)
        let state: ClusterState
        do throws(EntryProblem) {
            state = try L2Entry(words.span, position.index, geometry).state
        } catch {
            let place = Int64(tables[position.table]) + geometry.byteOffset(of: position.index)
            throw .image(ImageProblem(.malformed, path, at: place, error.what))
        }
        let skip = offset & (geometry.clusterSize - 1)
        if case .compressed(let host, let length) = state {
            return .compressed(host: host, compressedLength: length, skip: Int(skip))
        }
        guard let parts = state.parts else { return .unallocated }
        let part: UInt32 =
            geometry.hasSubclusters ? 1 << UInt32(skip >> Int64(geometry.pieceBits)) : 1
        if parts.zero & part != 0 { return .zero }
        if parts.allocated & part != 0, let host = parts.host { return .stored(host: host + skip) }
        return .unallocated
    }
}

/// Follows a stretch through one L2 table.
private struct TableRun {
    let geometry: TableGeometry
    let content: LayerExtent.Content
    /// Where the stretch began, which may be in an earlier table.
    let origin: Int64
    let tableStart: Int64

    /// Where the stretch ends in this table: at a piece that is of another kind, or at the first
    /// beyond `limit`. Entries that make no sense end it too; they are reported when asked for.
    func end(in words: Span<UInt64>, from start: Int64, limit: Int64) -> Int64 {
        let bits = Int64(geometry.clusterBits)
        let first = Int((start - tableStart) >> bits)
        let last = Int((limit - tableStart).dividedRoundingUp(by: geometry.clusterSize))
        if geometry.hasSubclusters { return endOfParts(in: words, from: start, last: last) }
        return tableStart + Int64(endOfEntries(in: words, first, last)) << bits
    }

    private func endOfEntries(in words: Span<UInt64>, _ first: Int, _ last: Int) -> Int {
        var index = first
        switch content {
        case .unallocated:
            return firstWord(in: words, flip: 0, range: first..<last)
        case .zero:
            let ignored =
                EntryBits.copied | EntryBits.offset & ~geometry.misaligned
            while index < last, words[index] & ~ignored == EntryBits.zero { index &+= 1 }
        case .stored(let host):
            let start = tableStart + Int64(first) << Int64(geometry.clusterBits)
            var expected = UInt64(bitPattern: host + (start - origin))
            // At offset 0 of a data file, an entry without the flag is no data.
            while index < last, words[index] & ~EntryBits.copied == expected,
                words[index] != 0
            {
                index &+= 1
                expected &+= UInt64(geometry.clusterSize)
            }
        case .compressed:
            return first
        }
        return index
    }

    private func endOfParts(in words: Span<UInt64>, from start: Int64, last: Int) -> Int64 {
        let bits = Int64(geometry.clusterBits)
        var cluster = Int((start - tableStart) >> bits)
        var part = UInt32((start & (geometry.clusterSize - 1)) >> Int64(geometry.pieceBits))
        while cluster < last {
            let matching = parts(of: cluster, in: words)
            let count = (~matching >> part).trailingZeroBitCount
            guard count >= 32 - Int(part) else {
                return tableStart + Int64(cluster) << bits
                    + Int64(Int(part) + count) << Int64(geometry.pieceBits)
            }
            cluster += 1
            part = 0
        }
        return tableStart + Int64(cluster) << bits
    }

    /// The parts of a cluster that continue the stretch.
    private func parts(of cluster: Int, in words: Span<UInt64>) -> UInt32 {
        if words[2 * cluster] | words[2 * cluster + 1] == 0 {
            return content == .unallocated ? .max : 0
        }
        guard let parts = try? L2Entry(words, cluster, geometry).state.parts else { return 0 }
        switch content {
        case .unallocated: return ~(parts.allocated | parts.zero)
        case .zero: return parts.zero
        case .stored(let host):
            let start = tableStart + Int64(cluster) << Int64(geometry.clusterBits)
            return parts.host == host + (start - origin) ? parts.allocated : 0
        case .compressed: return 0
        }
    }
}
