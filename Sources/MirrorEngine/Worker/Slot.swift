internal import DirtyBitmap

/// One run on its way: what a worker remembers of it between its first read and its last write.
struct Slot {
    enum Phase: UInt8 {
        case free, reading, writing
    }

    var phase = Phase.free
    var range: Range<Int64> = 0..<0
    /// The source has nothing to read here.
    var isZero = false
    /// The slab's bytes that hold the run; empty for zeros.
    var memory: Range<Int> = 0..<0
    /// The next byte of the run that no transfer to the target was started for.
    var cursor: Int64 = 0
    /// Transfers to the target that were started and have not ended.
    var outstanding = 0
    /// Bytes that could not be read, as they were found; nothing is written there. Nearly always
    /// empty.
    var unreadable: [Range<Int64>] = []
    /// The run was given up, and stays dirty.
    var isIncomplete = false
    /// Stretches of it that were deferred because something in them failed, apart from each other;
    /// the rest goes on. Nearly always empty.
    private(set) var deferred: [Range<Int64>] = []
    /// The slot is in the worker's backlog.
    var isQueued = false

    /// Every transfer to the target was started and has ended.
    var isWritten: Bool { cursor == range.upperBound && outstanding == 0 }

    /// How much of it was deferred.
    var deferredBytes: Int64 { deferred.reduce(0) { $0 + Int64($1.count) } }

    /// Notes a stretch that was deferred. Failures that are apart may cost the same cluster or
    /// block.
    mutating func noteDeferred(_ range: Range<Int64>) {
        var joined = range
        deferred.removeAll { other in
            guard joined.lowerBound <= other.upperBound, other.lowerBound <= joined.upperBound
            else { return false }
            joined = joined.spanning(other)
            return true
        }
        deferred.append(joined)
    }

    /// Where the slab has the byte at `offset`.
    func bufferOffset(_ offset: Int64) -> Int { memory.lowerBound + Int(offset - range.lowerBound) }

    /// The first unreadable stretch that begins at or after the cursor, or holds it.
    var nextUnreadable: Range<Int64>? {
        var next: Range<Int64>?
        for range in unreadable where range.upperBound > cursor {
            if range.lowerBound < next?.lowerBound ?? .max { next = range }
        }
        return next
    }
}

extension SlotIndex {
    /// The reading of the slot's run.
    var reading: ReadingIndex { ReadingIndex(rawValue) }
}

extension ReadingIndex {
    /// The slot whose run this is the reading of, where each slot has one.
    var slot: SlotIndex { SlotIndex(rawValue) }
}

extension [Slot] {
    subscript(index: SlotIndex) -> Slot {
        _read { yield self[index.rawValue] }
        _modify { yield &self[index.rawValue] }
    }
}
