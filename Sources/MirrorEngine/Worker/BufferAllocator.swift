/// Hands out stretches of a slab, in units, to requests of any size.
///
/// With requests of one size it never fragments; with scattered small ones, many fit where few
/// large ones would. First fit over a bitmap of a few words: no allocation, no lists. Invariant: a
/// unit's bit is set exactly while it is handed out.
struct BufferAllocator {
    /// The size of a unit, in bytes.
    let unit: Int
    private let unitCount: Int
    private var used: [Bool]
    /// Where the next search starts: requests come and go in order, so what is behind is free
    /// soonest.
    private var next = 0

    init(byteCount: Int, unit: Int) {
        precondition(unit > 0 && byteCount >= unit)
        self.unit = unit
        unitCount = byteCount / unit
        used = Array(repeating: false, count: unitCount)
    }

    /// A free stretch of at least `count` bytes, or nil. Complexity: O(units).
    mutating func allocate(_ count: Int) -> Range<Int>? {
        let wanted = (count + unit - 1) / unit
        guard let first = find(wanted, from: next) ?? find(wanted, from: 0) else { return nil }
        for index in first..<(first + wanted) { used[index] = true }
        next = first + wanted
        return (first * unit)..<((first + wanted) * unit)
    }

    mutating func release(_ range: Range<Int>) {
        for index in (range.lowerBound / unit)..<(range.upperBound / unit) {
            assert(used[index], "a buffer was released twice")
            used[index] = false
        }
    }

    private func find(_ wanted: Int, from start: Int) -> Int? {
        var first = start
        while first + wanted <= unitCount {
            // The last used unit in the way decides where the search goes on.
            guard let obstacle = (first..<(first + wanted)).last(where: { used[$0] }) else {
                return first
            }
            first = obstacle + 1
        }
        return nil
    }
}
