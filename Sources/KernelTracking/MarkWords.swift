internal import DirtyBitmap

/// The marks of a tracker, which the kernel sets while they are taken away.
///
/// What is taken is kept in `held` before it is cleared, so that a process that dies at any moment
/// loses none, and in `ever` as long as it is not proven that no event is missing.
struct MarkWords: Sendable {
    private let bits: MappedWords
    private let coarse: MappedWords
    private let held: MappedWords
    private let ever: MappedWords
    private let granules: Int

    init(_ files: TrackerFiles, granules: Int) throws(TrackingError) {
        self.granules = granules
        let words = max((granules + 63) / 64, 1)
        for (part, count) in [
            (TrackerFiles.Part.bits, words), (.held, words), (.ever, words),
            (.coarse, (words + 63) / 64),
        ] {
            let bytes = try TrackerCalls.byteCount(ofMap: files[part])
            guard bytes == count * 8 else {
                throw .incomplete("\(part.name)", lacks: "\(count * 8 - bytes) bytes")
            }
        }
        bits = try MappedWords(ofMap: files[.bits], count: words)
        held = try MappedWords(ofMap: files[.held], count: words)
        ever = try MappedWords(ofMap: files[.ever], count: words)
        coarse = try MappedWords(ofMap: files[.coarse], count: (words + 63) / 64)
    }

    /// The bits of a word that stand for granules.
    private func valid(_ word: Int) -> UInt64 {
        let rest = granules - word * 64
        return rest >= 64 ? ~0 : rest <= 0 ? 0 : (1 << UInt64(rest)) - 1
    }

    /// Moves all marks to `result`, of the same size and of granules that are `1 << shift` as
    /// large.
    ///
    /// - Returns: whether there were any.
    func take(into result: inout DirtyBitmap, shift: Int) -> Bool {
        var found = false
        for group in 0..<coarse.count {
            let marks = coarse.load(group)
            guard marks != 0 else { continue }
            found = true
            var rest = marks
            while rest != 0 {
                let word = group * 64 + rest.trailingZeroBitCount
                rest &= rest - 1
                guard word < bits.count else { continue }
                keep(valid(word), in: word)
                result.merge(valid(word), ofWord: word, finerBy: shift)
            }
            coarse.clear(marks, in: group)
        }
        for word in 0..<bits.count {
            let marks = bits.load(word)
            guard marks != 0 else { continue }
            found = true
            keep(marks, in: word)
            bits.clear(marks, in: word)
            result.merge(marks & valid(word), ofWord: word, finerBy: shift)
        }
        return found
    }

    private func keep(_ marks: UInt64, in word: Int) {
        held.set(marks, in: word)
        ever.set(marks, in: word)
    }

    /// Adds all marks to `result`, and leaves them.
    func add(to result: inout DirtyBitmap, shift: Int) {
        for word in 0..<bits.count {
            let isWhole = coarse.load(word / 64) >> UInt64(word % 64) & 1 != 0
            let marks = isWhole ? valid(word) : bits.load(word) & valid(word)
            if marks != 0 { result.merge(marks, ofWord: word, finerBy: shift) }
        }
    }

    /// Adds what an earlier process took and did not make durable.
    func addHeld(to result: inout DirtyBitmap, shift: Int) -> Bool {
        var found = false
        for word in 0..<held.count {
            let marks = held.load(word) & valid(word)
            guard marks != 0 else { continue }
            found = true
            result.merge(marks, ofWord: word, finerBy: shift)
        }
        return found
    }

    /// What was taken is durable elsewhere.
    func release() { clear(held) }

    /// No event is missing of what was taken until now.
    func forgetEver() { clear(ever) }

    /// Marks again what was ever taken since.
    func putBackEver() {
        for word in 0..<ever.count {
            let marks = ever.load(word)
            if marks != 0 { bits.set(marks, in: word) }
        }
    }

    private func clear(_ words: MappedWords) {
        for word in 0..<words.count where words.load(word) != 0 { words.clear(~0, in: word) }
    }

    /// How many granules are marked.
    func count() -> Int {
        var count = 0
        for word in 0..<bits.count {
            let isWhole = coarse.load(word / 64) >> UInt64(word % 64) & 1 != 0
            count += (isWhole ? valid(word) : bits.load(word) & valid(word)).nonzeroBitCount
        }
        return count
    }

    /// Whether nothing is marked, as far as a look that is not one moment can tell.
    var isClean: Bool {
        (0..<coarse.count).allSatisfy { coarse.load($0) == 0 }
            && (0..<bits.count).allSatisfy { bits.load($0) == 0 }
    }
}
