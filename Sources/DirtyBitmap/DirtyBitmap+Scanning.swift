// Finding what is dirty. Scans visit words, not bits, and pass empty stretches at the speed of
// memory.

extension DirtyBitmap {
    /// The first dirty byte at or after `offset`, or nil if there is none.
    ///
    /// Inside a dirty granule that is `offset` itself, else the start of a granule.
    ///
    /// - Parameter offset: within `0...size`; anything else stops the program.
    /// - Complexity: O(words passed).
    public func nextDirty(from offset: Int64) -> Int64? {
        next(from: offset, flip: 0)
    }

    /// The first clean byte at or after `offset`, or nil if there is none.
    ///
    /// Inside a clean granule that is `offset` itself, else the start of a granule.
    ///
    /// - Parameter offset: within `0...size`; anything else stops the program.
    /// - Complexity: O(words passed).
    public func nextClean(from offset: Int64) -> Int64? {
        next(from: offset, flip: ~0)
    }

    private func next(from offset: Int64, flip: UInt64) -> Int64? {
        geometry.check(start: offset)
        guard offset < size else { return nil }
        let start = geometry.granule(at: offset)
        let bit = firstBit(in: words.span, flip: flip, range: start..<granuleCount)
        guard bit < granuleCount else { return nil }
        return max(offset, geometry.offset(ofGranule: bit))
    }

    /// The next run of dirty granules at or after `offset`, or nil if there is none.
    ///
    /// `offset` is rounded down to its granule, so that the run starts at a granule and ends at a
    /// granule or at `size`. The run goes on to the first clean granule unless `limit` cuts it.
    ///
    /// - Parameters:
    ///   - offset: within `0...size`; anything else stops the program.
    ///   - limit: the most bytes wanted, above 0. Rounded down to whole granules, but one granule
    ///     is always given: with a granularity above the limit, runs are longer than the limit.
    /// - Complexity: O(words passed).
    public func nextDirtyRun(from offset: Int64, limit: Int64 = .max) -> Range<Int64>? {
        guard let bits = nextSetBits(from: offset, limit: limit) else { return nil }
        return geometry.bytes(ofGranules: bits)
    }

    /// Finds the next dirty run as `nextDirtyRun` does and marks it clean.
    ///
    /// The caller now owns that piece of work. If it fails, `set` the run again. What is set while
    /// the caller works is found by the next scan that passes there.
    ///
    /// - Complexity: O(words passed).
    public mutating func takeDirtyRun(from offset: Int64, limit: Int64 = .max) -> Range<Int64>? {
        guard let bits = nextSetBits(from: offset, limit: limit) else { return nil }
        clearBits(bits)
        return geometry.bytes(ofGranules: bits)
    }

    private func nextSetBits(from offset: Int64, limit: Int64) -> Range<Int>? {
        geometry.check(start: offset)
        precondition(limit > 0, "a run can't be limited to \(limit) bytes: pass 1 or more")
        // `size` itself must not be rounded down into a short last granule: the scan is over.
        guard offset < size else { return nil }
        let span = words.span
        let from = geometry.granule(at: offset)
        let start = firstBit(in: span, flip: 0, range: from..<granuleCount)
        guard start < granuleCount else { return nil }
        let wanted = max(1, geometry.granule(at: limit))
        let cut = start &+ min(wanted, granuleCount &- start)
        return start..<firstBit(in: span, flip: ~0, range: start..<cut)
    }

    /// Calls `body` with every maximal run of dirty bytes, in ascending order.
    ///
    /// Runs are cut at the ends of `range`, to the byte: their lengths add up to
    /// `dirtyBytes(in: range)`. Without a range, they start and end at granules or at `size`.
    ///
    /// - Parameters:
    ///   - range: bytes within `0..<size`, or nil for all of them; anything else stops the program.
    ///   - body: what it throws ends the scan and is thrown on.
    /// - Complexity: O(words in the range + runs).
    public func forEachDirtyRun<Failure: Error>(
        in range: Range<Int64>? = nil, _ body: (Range<Int64>) throws(Failure) -> Void
    ) throws(Failure) {
        let range = range ?? 0..<size
        let bits = geometry.granules(touching: range)
        guard !bits.isEmpty else { return }
        let span = words.span
        let wordEnd = (bits.upperBound &+ 63) &>> 6
        var index = bits.lowerBound &>> 6
        // The bits of the current word that haven't been visited yet.
        var word = span[index] & (~0 &<< UInt64(bits.lowerBound & 63))

        while true {
            if word == 0 {
                index = firstWord(in: span, flip: 0, range: (index &+ 1)..<wordEnd)
                guard index < wordEnd else { return }
                word = span[index]
            }
            let start = (index &<< 6) &+ word.trailingZeroBitCount
            guard start < bits.upperBound else { return }
            // Adding the lowest set bit carries through the run and sets the clear bit above it.
            let carried = word &+ (word & (0 &- word))
            var end: Int
            if carried != 0 {
                end = min((index &<< 6) &+ carried.trailingZeroBitCount, bits.upperBound)
                word &= carried
            } else {
                // The run reaches the top of the word, and maybe the words behind it.
                let rest = min((index &+ 1) &<< 6, bits.upperBound)..<bits.upperBound
                end = firstBit(in: span, flip: ~0, range: rest)
                index = min(end &>> 6, wordEnd &- 1)
                word = end < bits.upperBound ? span[index] & (~0 &<< UInt64(end & 63)) : 0
            }
            let run = geometry.bytes(ofGranules: start..<end)
            try body(run.clamped(to: range))
            guard end < bits.upperBound else { return }
        }
    }

    /// Calls `body` with the index and value of every word that has a dirty granule.
    ///
    /// Bit `b` of word `w` is granule `64 * w + b`, which starts at that many granularities. For
    /// callers that handle granules and not runs, this is the fastest way through a dense bitmap.
    ///
    /// - Complexity: O(words).
    public func forEachWord<Failure: Error>(
        _ body: (_ index: Int, _ word: UInt64) throws(Failure) -> Void
    ) throws(Failure) {
        let span = words.span
        var index = 0
        while true {
            index = firstWord(in: span, flip: 0, range: index..<span.count)
            guard index < span.count else { return }
            try body(index, span[index])
            index &+= 1
        }
    }
}
