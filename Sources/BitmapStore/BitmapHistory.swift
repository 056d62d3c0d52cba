package import BlockStorage

/// What tells whether a bitmap can have heard of all that was written to its source.
///
/// A bitmap says what was marked. That nothing went past it is shown by looks at the source: a
/// source that was written since a look while nothing was added to the bitmap was written without
/// a mark.
package struct BitmapHistory: Equatable, Sendable {
    /// How often something was added to the marks. Taking marks away does not count.
    package internal(set) var additions: UInt64 = 0
    /// The source when it was last judged, as a job on the bitmap began: all that was written until
    /// then is marked, or counts as lacking.
    package internal(set) var look: Look?
    /// The source when the bitmap was disabled; nil: it records, or nobody looked.
    package internal(set) var paused: [WriteWitness]?
    /// When a file of the source had last changed as the bitmap was added or enabled, or as marks
    /// were added, the latest time; nil: that is not known, as of disks. A source that last changed
    /// before that (a snapshot) lacks some of what is marked, or what came before the bitmap.
    package internal(set) var markedState: Int64?
    /// Whether the bitmap has all that was ever marked in it. If not, it says nothing about a
    /// target that it does not know.
    package internal(set) var isWhole = true

    /// A job writes to the source that has marked what it writes, or died while it did. What those
    /// marks do not explain is what others write meanwhile.
    package internal(set) var isBeingWritten = false

    /// A look at the source.
    package struct Look: Equatable, Sendable {
        /// Its files, in the order of the disk's.
        package var witness: [WriteWitness]
        /// As many additions had been made by then.
        package var additions: UInt64
    }

    init() {}

    /// Whether something was marked since the last look.
    var hasNewMarks: Bool { additions > look?.additions ?? 0 }

    /// The source is looked at, and nothing that was written to it until then is missed.
    mutating func judged(_ witness: [WriteWitness]) {
        guard !witness.isEmpty else { return }
        look = Look(witness: witness, additions: additions)
        isBeingWritten = false
        // What was missed while the bitmap was disabled counts as lacking by now.
        if paused != nil { paused = witness }
    }

    /// Marks were added while the source was as this look shows.
    mutating func marked(_ witness: [WriteWitness]) { marked(at: witness.lastChange) }

    /// The same, of marks that another bitmap has had.
    mutating func marked(like other: BitmapHistory) { marked(at: other.markedState) }

    private mutating func marked(at changed: Int64?) {
        guard let changed else { return }
        markedState = max(changed, markedState ?? changed)
    }

    /// Whether a source is from before some of the marks, so that it lacks what they tell of.
    package func isOlder(_ witness: [WriteWitness]) -> Bool {
        guard let markedState, let changed = witness.lastChange else { return false }
        return changed < markedState
    }

    /// The source's files were written, and it reads as it did.
    ///
    /// - Returns: whether names, owner or times of the files had been changed before, which no look
    ///   shows any more.
    mutating func renew(_ earlier: [WriteWitness], _ found: [WriteWitness]) -> Bool {
        let isTouched =
            look?.witness.isTouched(in: earlier) ?? false
            || paused?.isTouched(in: earlier) ?? false
        if let seen = look?.witness { look?.witness = seen.renewed(earlier, found) }
        if let seen = paused { paused = seen.renewed(earlier, found) }
        return isTouched
    }

    /// What contradicts itself; nil: nothing.
    var flaw: String? {
        if let look, look.additions > additions { return "a bitmap has lost an addition" }
        return nil
    }
}

extension [WriteWitness] {
    /// When a file last changed, of those that tell.
    fileprivate var lastChange: Int64? { compactMap(\.statusChanged).max() }

    /// The files that were as seen are known as they are now; of the others it goes on to show that
    /// something has written them.
    fileprivate func renewed(_ earlier: [WriteWitness], _ found: [WriteWitness]) -> [WriteWitness] {
        guard count == earlier.count else { return self }
        let isTrue = indices.map { [self[$0]].isStillTrue(of: [earlier[$0]]) }
        // A file that does not belong to the source any more must not take what it shows with it.
        guard isTrue.dropFirst(found.count).allSatisfy(\.self) else { return self }
        return found.indices.map { $0 < count && !isTrue[$0] ? self[$0] : found[$0] }
    }
}

// MARK: As bytes

extension BitmapHistory {
    var encoded: FieldWriter {
        var fields = FieldWriter()
        fields.put(1, additions)
        fields.put(2, look?.witness.encoded)
        fields.put(3, look?.additions)
        fields.put(4, paused?.encoded)
        fields.put(5, (isWhole ? 1 : 0) as UInt8)
        fields.put(6, markedState)
        if isBeingWritten { fields.put(7, 1 as UInt8) }
        return fields
    }

    init(decoding fields: FieldReader) throws(FieldError) {
        try fields.checkTags(1...7, in: "history")
        additions = try need(try fields.number(1), "a count of additions")
        if let count = try fields.number(3, as: UInt64.self) {
            look = Look(witness: try fields.witnesses(2), additions: count)
        }
        let paused = try fields.witnesses(4)
        self.paused = paused.isEmpty ? nil : paused
        let isWhole = try need(try fields.number(5, as: UInt8.self), "what was taken away")
        guard isWhole <= 1 else { throw .unsupported("a bitmap has state \(isWhole)") }
        self.isWhole = isWhole == 1
        markedState = try fields.number(6)
        let isBeingWritten = try fields.number(7, as: UInt8.self) ?? 0
        guard isBeingWritten <= 1 else {
            throw .unsupported("a bitmap has state \(isBeingWritten)")
        }
        self.isBeingWritten = isBeingWritten == 1
    }

    /// That of a bitmap whose store is from before it was kept.
    ///
    /// - Parameters:
    ///   - sourceWitness: of its last success; empty: none.
    ///   - hasMarks: what was marked since then counts as new.
    init(lastSuccess sourceWitness: [WriteWitness], hasMarks: Bool, hasTargets: Bool) {
        judged(sourceWitness)
        if hasMarks { additions = 1 }
        isWhole = !hasTargets
    }
}

extension Catalog {
    /// Gives those bitmaps a history that were written without one.
    mutating func completeHistories(_ isMissing: (UInt64) -> Bool) {
        for index in bitmapIndices where isMissing(id(index)) {
            let known = targets.filter { $0.bitmap == id(index) }
            self[historyOf: index] = BitmapHistory(
                lastSuccess: known.last { $0.success != nil }?.success?.sourceWitness ?? [],
                hasMarks: self[index].dirtyBytes > 0
                    || known.contains { $0.lacked.dirtyBytes > 0 },
                hasTargets: !known.isEmpty)
        }
    }

    var bitmapIndices: [BitmapIndex] {
        bitmaps.indices.map { .stored($0) } + imageBitmaps.indices.map { .image($0) }
    }

    subscript(historyOf index: BitmapIndex) -> BitmapHistory {
        get {
            switch index {
            case .stored(let index): bitmaps[index].history
            case .image(let index): imageBitmaps[index].history
            }
        }
        set {
            switch index {
            case .stored(let index): bitmaps[index].history = newValue
            case .image(let index): imageBitmaps[index].history = newValue
            }
        }
    }

    var historyFlaw: String? {
        bitmapIndices.lazy.compactMap { self[historyOf: $0].flaw }.first
    }
}
