/// Whether every word is zero, as fast as memory can be read.
///
/// 32 words are OR-ed for each branch: leaving the loop at the first word that is not zero costs four
/// times as much on data that is zero, and data that isn't shows itself in the first few words anyway.
/// Complexity: O(words), at most 32 words past the first that is not zero.
public func isAllZero(_ words: Span<UInt64>) -> Bool {
    var index = 0
    let blocks = words.count & ~31
    while index < blocks {
        var bits: UInt64 = 0
        for offset in 0..<32 { bits |= words[index &+ offset] }
        if bits != 0 { return false }
        index &+= 32
    }
    while index < words.count {
        if words[index] != 0 { return false }
        index &+= 1
    }
    return true
}

/// How many bytes differ between two stretches of the same length, and where the first is.
///
/// Complexity: O(bytes); equal stretches go word by word.
public func differences(
    _ first: borrowing RawSpan, _ second: borrowing RawSpan
) -> (count: Int, firstOffset: Int?) {
    precondition(first.byteCount == second.byteCount)
    var count = 0
    var firstOffset: Int?
    let words = first.byteCount / 8
    for word in 0..<words {
        let left = unsafe first.unsafeLoadUnaligned(
            fromUncheckedByteOffset: word &* 8, as: UInt64.self)
        let right = unsafe second.unsafeLoadUnaligned(
            fromUncheckedByteOffset: word &* 8, as: UInt64.self)
        if left == right { continue }
        var bits = (left ^ right).littleEndian
        for byte in 0..<8 {
            if bits & 0xff != 0 {
                count &+= 1
                if firstOffset == nil { firstOffset = word &* 8 &+ byte }
            }
            bits >>= 8
        }
    }
    for byte in (words * 8)..<first.byteCount {
        let left = unsafe first.unsafeLoad(fromByteOffset: byte, as: UInt8.self)
        let right = unsafe second.unsafeLoad(fromByteOffset: byte, as: UInt8.self)
        if left != right {
            count += 1
            if firstOffset == nil { firstOffset = byte }
        }
    }
    return (count, firstOffset)
}
