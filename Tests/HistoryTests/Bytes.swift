import Glibc

/// Whether two disks have the same bytes. Comparing arrays one number at a time takes most of a
/// test's time in a build for debugging.
func isSame(_ one: [UInt8]?, _ other: [UInt8]?) -> Bool {
    guard let one, let other else { return one == nil && other == nil }
    guard one.count == other.count else { return false }
    return one.withUnsafeBytes { left in
        other.withUnsafeBytes { right in
            left.count == 0 || memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
        }
    }
}

/// The blocks of the model's size in which two disks differ, those that only one has included.
func difference(_ one: [UInt8], _ other: [UInt8]) -> Set<Int> {
    guard !isSame(one, other) else { return [] }
    var blocks: Set<Int> = []
    let common = min(one.count, other.count)
    // Most of two disks is the same: large pieces first.
    let piece = 128 * Model.block
    one.withUnsafeBytes { left in
        other.withUnsafeBytes { right in
            func differs(_ start: Int, _ count: Int) -> Bool {
                memcmp(
                    left.baseAddress! + start, right.baseAddress! + start,
                    min(count, common - start)) != 0
            }
            for start in stride(from: 0, to: common, by: piece) where differs(start, piece) {
                for block in stride(from: start, to: min(start + piece, common), by: Model.block)
                where differs(block, Model.block) { blocks.insert(block / Model.block) }
            }
        }
    }
    return blocks.union(Model.blocks(common..<max(one.count, other.count)))
}
