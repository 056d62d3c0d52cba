internal import DirtyBitmap

/// A cluster that is being written whole, and not all of whose bytes have arrived. Until they have,
/// the table goes on saying what it said before.
struct PendingCluster: Sendable {
    let host: Int64
    /// Whether the cluster was taken for this: then it is free again if the bytes never come.
    let isNew: Bool
    /// Bytes of the disk that have not come yet.
    private(set) var missing: [Range<Int64>]
    private(set) var hasReceived = false

    init(host: Int64, isNew: Bool, missing: [Range<Int64>]) {
        self.host = host
        self.isNew = isNew
        self.missing = missing
    }

    /// Expects bytes once more, because their first write failed.
    mutating func expect(_ range: Range<Int64>) {
        assert(!range.isEmpty, "a cluster can't wait for nothing")
        remove(range)
        missing.append(range)
    }

    /// Notes bytes that have come.
    mutating func receive(_ range: Range<Int64>) {
        hasReceived = true
        remove(range)
    }

    private mutating func remove(_ range: Range<Int64>) {
        guard missing.contains(where: { $0.overlaps(range) }) else { return }
        var rest: [Range<Int64>] = []
        for piece in missing {
            guard piece.overlaps(range) else {
                rest.append(piece)
                continue
            }
            if piece.lowerBound < range.lowerBound {
                rest.append(piece.lowerBound..<range.lowerBound)
            }
            if piece.upperBound > range.upperBound {
                rest.append(range.upperBound..<piece.upperBound)
            }
        }
        missing = rest
    }
}

/// An L2 table of a target, as it may be written now, and what is to change in it.
struct TargetTable: Sendable {
    private(set) var words: [UInt64]
    /// Where the table may be written in place; 0 if it has no such place yet.
    var host: Int64
    /// A table that others use as well, and that this one is a copy of; 0 if there is none.
    var shared: Int64
    var pending: [Int: PendingCluster] = [:]
    /// Words that have changed since the last seal.
    private(set) var dirty: Range<Int>?

    init(words: [UInt64], host: Int64, shared: Int64) {
        assert(host == 0 || host != shared, "a table that others use would be written in place")
        self.words = words
        self.host = host
        self.shared = shared
    }

    /// Whether memory has something that a file hasn't.
    var isClean: Bool { dirty == nil && pending.isEmpty }

    func entry(_ index: Int, _ geometry: TableGeometry) throws(EntryProblem) -> L2Entry {
        let first = index * geometry.wordsPerEntry
        let bitmap = geometry.hasSubclusters ? words[first + 1] : 0
        return try L2Entry(words[first], bitmap: bitmap, geometry)
    }

    mutating func set(_ index: Int, _ entry: L2Entry, _ geometry: TableGeometry) {
        assert((0..<geometry.entriesPerTable).contains(index), "the table has no such entry")
        let first = index * geometry.wordsPerEntry
        let encoded = entry.encoded(geometry)
        words[first] = encoded.word
        if geometry.hasSubclusters { words[first + 1] = encoded.bitmap }
        let range = first..<(first + geometry.wordsPerEntry)
        dirty = dirty?.spanning(range) ?? range
    }

    /// Has a cluster that waits for bytes wait for some of them once more.
    ///
    /// Precondition: it waits.
    mutating func expect(_ range: Range<Int64>, at index: Int) {
        guard let place = pending.index(forKey: index) else {
            preconditionFailure("no cluster waits at entry \(index)")
        }
        pending.values[place].expect(range)
    }

    /// Takes the words that have changed.
    mutating func takeDirty() -> Range<Int>? {
        defer { dirty = nil }
        return dirty
    }
}
