/// Whether every word is zero, as fast as memory can be read.
///
/// 32 words are OR-ed for each branch: leaving the loop at the first word that is not zero costs
/// four times as much on data that is zero, and data that isn't shows itself in the first few words
/// anyway. Complexity: O(words), at most 32 words past the first that is not zero.
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
