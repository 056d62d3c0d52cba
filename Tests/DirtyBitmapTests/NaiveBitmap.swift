import DirtyBitmap

/// A bitmap that is too simple to be wrong: a set of granule numbers, and every rule written down
/// as a statement about the bytes of single granules.
struct NaiveBitmap {
    let size: Int64
    let granularity: Int64
    var dirty: Set<Int64> = []

    var granuleCount: Int64 { size / granularity + (size % granularity > 0 ? 1 : 0) }

    /// The bytes of one granule.
    func extent(_ granule: Int64) -> Range<Int64> {
        let start = granule * granularity
        return start..<(size - start < granularity ? size : start + granularity)
    }

    /// Granules that may have to do with `range`, with some around it; the rules decide.
    func candidates(_ range: Range<Int64>) -> Range<Int64> {
        let first = max(0, range.lowerBound / granularity - 1)
        let last = min(granuleCount, range.upperBound / granularity + 2)
        return min(first, last)..<last
    }

    func touches(_ granule: Int64, _ range: Range<Int64>) -> Bool {
        !range.isEmpty && extent(granule).overlaps(range)
    }

    func isInside(_ granule: Int64, _ range: Range<Int64>) -> Bool {
        range.lowerBound <= extent(granule).lowerBound
            && extent(granule).upperBound <= range.upperBound
    }

    mutating func set(_ range: Range<Int64>) {
        for granule in candidates(range) where touches(granule, range) { dirty.insert(granule) }
    }

    mutating func clear(_ range: Range<Int64>) {
        for granule in candidates(range) where isInside(granule, range) { dirty.remove(granule) }
    }

    mutating func setAll() { dirty = Set(0..<granuleCount) }

    mutating func invert() { dirty = Set(0..<granuleCount).subtracting(dirty) }

    mutating func merge(_ other: NaiveBitmap) {
        for granule in other.dirty { set(other.extent(granule)) }
    }

    mutating func subtract(_ other: NaiveBitmap) {
        dirty = dirty.filter { granule in
            !other.candidates(extent(granule))
                .filter { other.touches($0, extent(granule)) }
                .allSatisfy { other.dirty.contains($0) }
        }
    }

    func isDirty(at offset: Int64) -> Bool { dirty.contains(offset / granularity) }

    func containsDirty(in range: Range<Int64>) -> Bool {
        candidates(range).contains { touches($0, range) && dirty.contains($0) }
    }

    func isFullyDirty(in range: Range<Int64>) -> Bool {
        candidates(range).allSatisfy { !touches($0, range) || dirty.contains($0) }
    }

    func dirtyCount(in range: Range<Int64>) -> Int {
        candidates(range).count { touches($0, range) && dirty.contains($0) }
    }

    func dirtyBytes(in range: Range<Int64>) -> Int64 {
        candidates(range)
            .filter { touches($0, range) && dirty.contains($0) }
            .reduce(0) { $0 + Int64(extent($1).clamped(to: range).count) }
    }

    var dirtyBytes: Int64 { dirty.reduce(0) { $0 + Int64(extent($1).count) } }

    /// Scans beyond this many granules are cut by tests of huge bitmaps, not by this twin.
    func nextDirty(from offset: Int64) -> Int64? {
        dirty.filter { extent($0).upperBound > offset }.min().map {
            max(offset, extent($0).lowerBound)
        }
    }

    func nextClean(from offset: Int64) -> Int64? {
        guard offset < size else { return nil }
        var granule = offset / granularity
        while granule < granuleCount, dirty.contains(granule) { granule += 1 }
        return granule < granuleCount ? max(offset, extent(granule).lowerBound) : nil
    }

    func nextDirtyRun(from offset: Int64, limit: Int64) -> Range<Int64>? {
        guard offset < size else { return nil }
        guard let first = dirty.filter({ $0 >= offset / granularity }).min() else { return nil }
        var last = first
        while dirty.contains(last + 1), (last + 2 - first) * granularity <= limit { last += 1 }
        return extent(first).lowerBound..<extent(last).upperBound
    }

    /// All maximal runs, cut to `range`.
    func runs(in range: Range<Int64>) -> [Range<Int64>] {
        var runs: [Range<Int64>] = []
        for granule in dirty.sorted() where touches(granule, range) {
            let piece = extent(granule).clamped(to: range)
            if let last = runs.last, last.upperBound == piece.lowerBound {
                runs[runs.count - 1] = last.lowerBound..<piece.upperBound
            } else {
                runs.append(piece)
            }
        }
        return runs
    }
}

extension DirtyBitmap {
    /// All dirty runs as an array, in the order in which the scan gives them.
    func runs(in range: Range<Int64>? = nil) -> [Range<Int64>] {
        var runs: [Range<Int64>] = []
        forEachDirtyRun(in: range) { runs.append($0) }
        return runs
    }

    /// The granules that `forEachWord` shows.
    func dirtyGranules() -> [Int64] {
        var granules: [Int64] = []
        forEachWord { index, word in
            for bit in 0..<64 where word >> UInt64(bit) & 1 == 1 {
                granules.append(Int64(index * 64 + bit))
            }
        }
        return granules
    }
}
