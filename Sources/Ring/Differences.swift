/// How many bytes differ between two stretches of the same length, and where the first is.
///
/// Stretches that are equal, as nearly all are, go 32 words to a branch.
/// Complexity: O(bytes).
public func differences(
    _ first: borrowing RawSpan, _ second: borrowing RawSpan
) -> (count: Int, firstOffset: Int?) {
    precondition(first.byteCount == second.byteCount)
    var count = 0
    var firstOffset: Int?
    var offset = 0
    let blocks = first.byteCount & ~(blockBytes - 1)
    while offset < first.byteCount {
        let end = offset < blocks ? offset &+ blockBytes : first.byteCount
        if offset >= blocks || !isEqualBlock(first, second, at: offset) {
            for byte in offset..<end where load(first, byte) != load(second, byte) {
                count &+= 1
                if firstOffset == nil { firstOffset = byte }
            }
        }
        offset = end
    }
    return (count, firstOffset)
}

private let blockBytes = 256

private func isEqualBlock(
    _ first: borrowing RawSpan, _ second: borrowing RawSpan, at offset: Int
) -> Bool {
    // One check for the block keeps the 32 loads free of their own.
    precondition(offset >= 0 && offset <= first.byteCount - blockBytes)
    var bits: UInt64 = 0
    for word in 0..<(blockBytes / 8) {
        let position = offset &+ word &* 8
        let left = unsafe first.unsafeLoadUnaligned(
            fromUncheckedByteOffset: position, as: UInt64.self)
        let right = unsafe second.unsafeLoadUnaligned(
            fromUncheckedByteOffset: position, as: UInt64.self)
        bits |= left ^ right
    }
    return bits == 0
}

private func load(_ bytes: borrowing RawSpan, _ offset: Int) -> UInt8 {
    unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
}
