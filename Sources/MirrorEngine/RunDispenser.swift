package import BlockStorage
package import DirtyBitmap
internal import Synchronization

/// A stretch of dirty bytes that one worker copies.
package struct Run: Sendable, Equatable {
    package let range: Range<Int64>
    /// The source says that it reads as zeros.
    package let isZero: Bool
}

/// Owns a job's working bitmap, and hands its dirty runs out to the workers.
///
/// Bits are cleared when their run is handed out: a write that arrives from then on sets them
/// again, and nothing is lost. Every run comes back once, by `complete` or, if it was not copied,
/// by `giveBack` (it stays dirty); parts of it may come by `defer` before (they are tried again in
/// a pass of their own). What arrives while a pass goes on is the work of the next one.
///
/// Invariants: what is pending or out lies within the disk, and no byte of it is there twice, nor
/// dirty in the working bitmap before it was given back.
package final class RunDispenser: Sendable {
    fileprivate struct State: ~Copyable {
        var working: DirtyBitmap
        /// What failed in this pass, and is tried again in the next; nil while nothing has.
        var deferred: DirtyBitmap?
        /// Bits up to here have been handed out in this pass.
        var cursor: Int64 = 0
        /// Taken from the bitmap, and not yet handed out.
        var pending: Range<Int64> = 0..<0
        /// Handed out and not come back: as many as there are slots, in no order.
        var outstanding: [Range<Int64>] = []
        /// What the source said last about where it lives, so that it isn't asked for each run.
        /// Not longer than for a pass: what was a hole then may have been written since.
        var extent: Range<Int64> = 0..<0
        var extentIsZero = false
    }

    private let state: Mutex<State>
    private let source: any SourceMap
    private let arrivals: (any ChangeSource)?
    private let unit: Int64

    /// Runs are cut on multiples of `blockSize` only, which no granule may be smaller than.
    ///
    /// - Parameters:
    ///   - unit: what runs are cut at multiples of where what is dirty goes on, a power of two.
    ///   - slots: how many runs will be out at once, so that nothing allocates later.
    ///   - arrivals: what tells of writes to the source; nil: nothing does.
    package init(
        working: consuming DirtyBitmap, source: any SourceMap, blockSize: Int64, unit: Int64 = 1,
        slots: Int = 0, arrivals: (any ChangeSource)? = nil
    ) {
        precondition(working.granularity.bytes >= blockSize)
        self.source = source
        self.arrivals = arrivals
        self.unit = max(unit, blockSize)
        var state = State(working: working)
        state.outstanding.reserveCapacity(slots)
        self.state = Mutex(state)
    }

    /// The next dirty run, at most `dataLimit` bytes of data or `zeroLimit` bytes of zeros; nil at
    /// the end of the pass. No limit may be less than the unit. Complexity: O(1) for most runs,
    /// O(words) over clean stretches of the bitmap.
    package func next(dataLimit: Int64, zeroLimit: Int64) throws(StorageError) -> Run? {
        precondition(min(dataLimit, zeroLimit) >= unit)
        return try state.withLock { (state) throws(StorageError) -> Run? in
            if state.pending.isEmpty {
                // A gulp is much larger than a run, so that the bitmap is looked at rarely.
                guard let run = state.takeDirtyRun(max(dataLimit, zeroLimit), cutAt: unit) else {
                    return nil
                }
                state.cursor = run.upperBound
                state.pending = run
            }
            let start = state.pending.lowerBound
            if !state.extent.contains(start) {
                let found = try source.content(at: start, unit: unit)
                (state.extent, state.extentIsZero) = (found.range, found.content == .zero)
            }
            let limit = state.extentIsZero ? zeroLimit : dataLimit
            let cut = (start + limit) & ~(unit - 1)
            let end = min(state.pending.upperBound, state.extent.upperBound, cut)
            state.pending = end..<state.pending.upperBound
            state.outstanding.append(start..<end)
            state.checkInvariants()
            return Run(range: start..<end, isZero: state.extentIsZero)
        }
    }

    /// Takes a run back that was copied, but for what was deferred of it. `range` may be several
    /// neighbouring runs that were joined. Complexity: O(runs that are out).
    package func complete(_ range: Range<Int64>) {
        state.withLock { $0.takeBack(range) }
    }

    /// Takes a run back that was not copied, and marks it dirty again. It is not handed out again
    /// in this pass.
    package func giveBack(_ range: Range<Int64>) {
        state.withLock { state in
            state.takeBack(range)
            state.working.set(range)
        }
    }

    /// Marks bytes that failed, for the retry pass.
    package func `defer`(_ range: Range<Int64>) {
        state.withLock { $0.postpone(range) }
    }

    /// Makes what was deferred, what was given back and what has arrived the work of a new pass.
    ///
    /// - Precondition: no run is out. The older of two copies of one place could land last.
    /// - Returns: whether there is any. If not, and nothing arrives any more, all was copied.
    /// - Complexity: O(words).
    package func beginPass() -> Bool {
        state.withLock { state in
            state.beginPass()
            arrivals?.drain(into: &state.working)
            return !state.working.isClean
        }
    }

    /// Makes what was deferred the work of a new pass; false if nothing was.
    package func beginRetryPass() -> Bool {
        state.withLock { state in
            guard state.hasDeferred else { return false }
            state.beginPass()
            return true
        }
    }

    /// Everything that has not been copied yet, what is being copied included: all of the rest was
    /// written before this call. For checkpoints, for resuming and for reports.
    ///
    /// - Complexity: O(words).
    package func remaining() -> DirtyBitmap {
        state.withLock { $0.remaining() }
    }

    /// Whether every run has been copied. Complexity: O(words), and nothing is allocated.
    package var isClean: Bool {
        state.withLock { state in
            state.pending.isEmpty && state.outstanding.isEmpty && !state.hasDeferred
                && state.working.isClean
        }
    }
}

extension RunDispenser.State {
    /// The next dirty bytes; if they go on, they end with a unit.
    fileprivate mutating func takeDirtyRun(_ limit: Int64, cutAt unit: Int64) -> Range<Int64>? {
        guard cursor < working.size, let run = working.takeDirtyRun(from: cursor, limit: limit)
        else { return nil }
        let end = run.upperBound & ~(unit - 1)
        guard end > run.lowerBound, end < run.upperBound, run.upperBound < working.size,
            working.isDirty(at: run.upperBound)
        else { return run }
        working.set(end..<run.upperBound)
        return run.lowerBound..<end
    }

    fileprivate mutating func takeBack(_ range: Range<Int64>) {
        var index = 0
        while index < outstanding.count {
            if range.contains(outstanding[index].lowerBound) {
                precondition(
                    range.upperBound >= outstanding[index].upperBound, "half a run came back")
                outstanding.swapAt(index, outstanding.count - 1)
                outstanding.removeLast()
            } else {
                index += 1
            }
        }
    }

    fileprivate mutating func postpone(_ range: Range<Int64>) {
        if deferred == nil {
            deferred = DirtyBitmap(size: working.size, granularity: working.granularity)
        }
        deferred?.set(range)
    }

    fileprivate mutating func beginPass() {
        precondition(outstanding.isEmpty && pending.isEmpty, "a pass begins while runs are out")
        mergeDeferred()
        cursor = 0
        extent = 0..<0
    }

    /// What was handed out last is nowhere else. O(runs that are out) in a debug build, nothing in
    /// a release build.
    fileprivate borrowing func checkInvariants() {
        #if DEBUG
            working.checkInvariants()
            assert(cursor >= 0 && cursor <= working.size)
            assert(pending.isEmpty || pending.lowerBound >= 0 && pending.upperBound <= cursor)
            guard let last = outstanding.last else { return }
            assert(!last.isEmpty && last.lowerBound >= 0 && last.upperBound <= working.size)
            assert(!last.overlaps(pending), "a run is out and not handed out yet")
            for index in 0..<(outstanding.count - 1) {
                assert(!last.overlaps(outstanding[index]), "a byte is out twice")
            }
        #endif
    }

    fileprivate var hasDeferred: Bool {
        switch deferred {
        case .some(let bitmap): !bitmap.isClean
        case nil: false
        }
    }

    /// Makes what was deferred dirty.
    private mutating func mergeDeferred() {
        if let bitmap = deferred.take() { working.merge(sameSize: bitmap) }
    }

    fileprivate borrowing func remaining() -> DirtyBitmap {
        var copy = working.copy()
        copy.set(pending)
        for range in outstanding { copy.set(range) }
        switch deferred {
        case .some(let bitmap): copy.merge(sameSize: bitmap)
        case nil: break
        }
        return copy
    }
}
