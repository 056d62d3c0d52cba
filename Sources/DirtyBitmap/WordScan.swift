// The loops over words. They see spans of plain words and bit numbers, no bitmap and no bytes.
//
// `flip` is 0 to look for set bits and all ones to look for clear bits: every word is XORed with
// it first, so that one loop serves both.

/// How many words are ORed together before one branch looks at the result.
///
/// 32 words are 256 bytes, four cache lines: enough that an empty bitmap is read at the speed of
/// memory, bounds checks included. Exiting word by word costs four times as much.
private let blockWordCount = 32

/// Words looked at one by one before whole blocks are tried, so that scans of bitmaps in which
/// most words hold something don't read 32 words to find the next one.
private let probeWordCount = 8

/// The index of the first word in `range` that has a sought bit, or the end of `range`.
package func firstWord(in words: Span<UInt64>, flip: UInt64, range: Range<Int>) -> Int {
    let end = range.upperBound
    var index = range.lowerBound
    let probeEnd = min(end, index &+ probeWordCount)
    while index < probeEnd {
        if words[index] ^ flip != 0 { return index }
        index &+= 1
    }
    while end &- index >= blockWordCount {
        var union: UInt64 = 0
        for lane in 0..<blockWordCount { union |= words[index &+ lane] ^ flip }
        if union != 0 { break }
        index &+= blockWordCount
    }
    while index < end {
        if words[index] ^ flip != 0 { return index }
        index &+= 1
    }
    return end
}

/// The number of the first sought bit in `range`, or the end of `range`.
func firstBit(in words: Span<UInt64>, flip: UInt64, range: Range<Int>) -> Int {
    guard !range.isEmpty else { return range.upperBound }
    var index = range.lowerBound &>> 6
    var word = (words[index] ^ flip) & (~0 &<< UInt64(range.lowerBound & 63))
    if word == 0 {
        let wordEnd = (range.upperBound &+ 63) &>> 6
        index = firstWord(in: words, flip: flip, range: (index &+ 1)..<wordEnd)
        guard index < wordEnd else { return range.upperBound }
        word = words[index] ^ flip
    }
    // The last word may hold bits behind the range.
    return min((index &<< 6) &+ word.trailingZeroBitCount, range.upperBound)
}

/// The words that hold a range of bits: the first and last word with masks, whole ones between.
struct WordSlice {
    let first: Int
    let last: Int
    let firstMask: UInt64
    let lastMask: UInt64

    init(bits: Range<Int>) {
        assert(!bits.isEmpty, "an empty range of bits lies in no word")
        first = bits.lowerBound &>> 6
        last = (bits.upperBound &- 1) &>> 6
        let head: UInt64 = ~0 &<< UInt64(bits.lowerBound & 63)
        let tail: UInt64 = ~0 &>> UInt64(63 &- ((bits.upperBound &- 1) & 63))
        firstMask = first == last ? head & tail : head
        lastMask = first == last ? head & tail : tail
    }
}

/// How many bits of `bits` are set.
func countBits(in words: Span<UInt64>, bits: Range<Int>) -> Int {
    guard !bits.isEmpty else { return 0 }
    let slice = WordSlice(bits: bits)
    var total = (words[slice.first] & slice.firstMask).nonzeroBitCount
    guard slice.first < slice.last else { return total }
    total &+= (words[slice.last] & slice.lastMask).nonzeroBitCount

    // Four sums that don't wait for each other.
    var (sum0, sum1, sum2, sum3) = (0, 0, 0, 0)
    var index = slice.first &+ 1
    while slice.last &- index >= 4 {
        sum0 &+= words[index].nonzeroBitCount
        sum1 &+= words[index &+ 1].nonzeroBitCount
        sum2 &+= words[index &+ 2].nonzeroBitCount
        sum3 &+= words[index &+ 3].nonzeroBitCount
        index &+= 4
    }
    while index < slice.last {
        total &+= words[index].nonzeroBitCount
        index &+= 1
    }
    return total &+ sum0 &+ sum1 &+ sum2 &+ sum3
}
