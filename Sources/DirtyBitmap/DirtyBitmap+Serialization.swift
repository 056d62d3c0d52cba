// The stored form: the words one after the other, 8 bytes each, least significant byte first. Seen
// as bytes, granule `g` is bit `g % 8` of byte `g / 8`. Size and granularity aren't part of it.

extension DirtyBitmap {
    /// Bytes of the stored form, 8 per word.
    public var serializedByteCount: Int { words.count &* 8 }

    /// The stored form of the whole bitmap.
    ///
    /// - Complexity: O(words).
    public func serialized() -> [UInt8] {
        var bytes: [UInt8] = []
        serialize(words: 0..<words.count, into: &bytes)
        return bytes
    }

    /// Appends the stored form of some words to `bytes`.
    ///
    /// Allocates only if the array's capacity doesn't suffice.
    ///
    /// - Parameter range: indices within `0..<wordCount`; anything else stops the program.
    /// - Complexity: O(words in the range).
    public func serialize(words range: Range<Int>, into bytes: inout [UInt8]) {
        requireWords(range)
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: range.count &* 8))
        let source = words.span
        var target = bytes.mutableSpan
        var position = start
        for index in range {
            let word = source[index]
            for byte in 0..<8 {
                target[position &+ byte] = UInt8(truncatingIfNeeded: word &>> UInt64(byte &* 8))
            }
            position &+= 8
        }
    }

    /// Writes the stored form of some words into memory of the caller, such as an I/O buffer.
    ///
    /// - Parameters:
    ///   - range: indices within `0..<wordCount`; anything else stops the program.
    ///   - bytes: must have room for 8 bytes per word from `byteOffset` on, or the program stops.
    ///     Bytes before and behind them are left alone.
    /// - Complexity: O(words in the range).
    public func serialize(
        words range: Range<Int>, into bytes: inout MutableRawSpan, at byteOffset: Int = 0
    ) {
        requireWords(range)
        let span = words.span
        var position = byteOffset
        for index in range {
            bytes.storeBytes(
                of: span[index].littleEndian, toByteOffset: position, as: UInt64.self)
            position &+= 8
        }
    }

    private func requireWords(_ range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= words.count,
            "words \(range) aren't within 0..<\(words.count)")
    }

    /// Makes a bitmap from its stored form.
    ///
    /// - Parameter bytes: exactly `byteCount(size:granularity:)` bytes.
    /// - Throws: `negativeSize`, `tooManyGranules`, `wrongByteCount`, or `bitPastEnd`. The length
    ///   is checked before anything is allocated, so that a damaged size can't exhaust memory.
    /// - Complexity: O(words).
    public init(
        size: Int64, granularity: Granularity, littleEndianWords bytes: [UInt8]
    ) throws(DirtyBitmapError) {
        let geometry = try BitmapGeometry(size: size, granularity: granularity)
        let expected = geometry.wordCount * 8
        guard bytes.count == expected else {
            throw .wrongByteCount(found: bytes.count, expected: expected)
        }
        var loaded = DirtyBitmap(geometry: geometry)
        try loaded.load(words: bytes.span, at: 0)
        self = loaded
    }

    /// Replaces some words by their stored form: a page of a bitmap that is read piece by piece.
    ///
    /// - Throws: `partialWord`, `pageOutOfBounds` or `bitPastEnd`; nothing has changed then.
    /// - Complexity: O(words in the page).
    public mutating func load(
        words bytes: [UInt8], at firstWord: Int
    ) throws(DirtyBitmapError) {
        try load(words: bytes.span, at: firstWord)
    }

    /// Replaces some words by their stored form, read from memory of the caller.
    ///
    /// - Throws: `partialWord`, `pageOutOfBounds` or `bitPastEnd`; nothing has changed then.
    /// - Complexity: O(words in the page).
    public mutating func load(
        words bytes: Span<UInt8>, at firstWord: Int
    ) throws(DirtyBitmapError) {
        guard bytes.count % 8 == 0 else { throw .partialWord(byteCount: bytes.count) }
        let count = bytes.count / 8
        guard firstWord >= 0, firstWord <= words.count, count <= words.count - firstWord else {
            throw .pageOutOfBounds(
                firstWord: firstWord, wordCount: count, bitmapWordCount: words.count)
        }
        guard count > 0 else { return }
        if firstWord + count == words.count {
            let last = littleEndianWord(in: bytes, at: (count - 1) * 8)
            let excess = geometry.bitsPastEnd(inLastWord: last)
            guard excess == 0 else {
                let bit = (words.count - 1) * 64 + excess.trailingZeroBitCount
                throw .bitPastEnd(bit: bit, granuleCount: granuleCount)
            }
        }
        var span = words.mutableSpan
        for index in 0..<count {
            span[firstWord &+ index] = littleEndianWord(in: bytes, at: index &* 8)
        }
        checkInvariants()
    }
}

/// The 8 bytes from `position` on as one word, the least significant first.
private func littleEndianWord(in bytes: Span<UInt8>, at position: Int) -> UInt64 {
    var word: UInt64 = 0
    for byte in 0..<8 { word |= UInt64(bytes[position &+ byte]) &<< UInt64(byte &* 8) }
    return word
}
