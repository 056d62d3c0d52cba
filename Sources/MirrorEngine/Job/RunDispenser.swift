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
/// The source is asked what it has where without the lock, so that a slow one holds up only the
/// worker that asks: what it asks about is out for as long.
///
/// Invariants: what is pending or out lies within the disk, and no byte of it is there twice, nor
/// dirty in the working bitmap before it was given back.
package final class RunDispenser: Sendable {
    /// Dirty bytes that were taken from the bitmap and not handed out yet.
    fileprivate struct Stretch {
        var range: Range<Int64>
        /// What the source said last, perhaps of another place.
        var extent: StorageExtent?

        /// What the source said of where it begins.
        var known: StorageExtent? {
            extent.flatMap { $0.range.contains(range.lowerBound) ? $0 : nil }
        }
    }

    fileprivate struct State: ~Copyable {
        var working: DirtyBitmap
        /// What failed in this pass, and is tried again in the next; nil while nothing has.
        var deferred: DirtyBitmap?
        /// Bits up to here have been taken out of the bitmap in this pass.
        var cursor: Int64 = 0
        /// Taken from the bitmap, and not yet handed out: at most one for each worker.
        var pending: [Stretch] = []
        /// Handed out and not come back, in no order: what is in slots, what waits to be zeroed
        /// with its neighbours, and what workers ask the source about.
        var outstanding: [Range<Int64>] = []
        /// What the source said last, so that it isn't asked for each stretch. Not longer than for
        /// a pass: what was a hole then may have been written since.
        var extent: StorageExtent?
        /// Workers that ask the source about a stretch.
        var asking = 0
    }

    private let state: Mutex<State>
    private let source: any SourceMap
    private let arrivals: (any ChangeSource)?
    private let unit: Int64

    /// Runs are cut on multiples of `blockSize` only, which no granule may be smaller than.
    ///
    /// - Parameters:
    ///   - unit: what runs are cut at multiples of where what is dirty goes on, a power of two.
    ///   - slots: how many runs are out at once, but for zeros that wait for their neighbours: room
    ///     is made for them.
    ///   - workers: how many threads ask for runs.
    ///   - arrivals: what tells of writes to the source; nil: nothing does.
    package init(
        working: consuming DirtyBitmap, source: any SourceMap, blockSize: Int64, unit: Int64 = 1,
        slots: Int = 0, workers: Int = 1, arrivals: (any ChangeSource)? = nil
    ) {
        precondition(working.granularity.bytes >= blockSize)
        self.source = source
        self.arrivals = arrivals
        self.unit = max(unit, blockSize)
        var state = State(working: working)
        state.outstanding.reserveCapacity(slots + workers)
        state.pending.reserveCapacity(workers)
        self.state = Mutex(state)
    }

    /// The next dirty run, at most `dataLimit` bytes of data or `zeroLimit` bytes of zeros; nil at
    /// the end of the pass, unless it `mayHaveMore`. No limit may be less than the unit.
    ///
    /// - Complexity: O(1) for most runs, O(words) over clean stretches of the bitmap.
    package func next(dataLimit: Int64, zeroLimit: Int64) throws(StorageError) -> Run? {
        precondition(min(dataLimit, zeroLimit) >= unit)
        let limits = Limits(data: dataLimit, zeros: zeroLimit, unit: unit)
        let taken = state.withLock { state -> (stretch: Stretch, run: Run?)? in
            guard let stretch = state.takeStretch(limits) else { return nil }
            guard let extent = stretch.known else {
                state.outstanding.append(stretch.range)
                state.asking += 1
                return (stretch, nil)
            }
            return (stretch, state.handOut(stretch.range, of: extent, limits))
        }
        guard let taken else { return nil }
        if let run = taken.run { return run }
        let asked = taken.stretch
        let found: StorageExtent
        do throws(StorageError) {
            found = try source.content(at: asked.range.lowerBound, unit: unit)
        } catch {
            state.withLock { state in
                state.asking -= 1
                state.takeBack(asked.range)
                state.pending.append(asked)
            }
            throw error
        }
        return state.withLock { state in
            state.asking -= 1
            state.takeBack(asked.range)
            state.extent = found
            return state.handOut(asked.range, of: found, limits)
        }
    }

    /// How long runs may be, and what they are cut at.
    fileprivate struct Limits {
        let data: Int64
        let zeros: Int64
        let unit: Int64
    }

    /// Makes this all that is dirty. Precondition: nothing was handed out yet.
    package func narrow(to working: consuming DirtyBitmap) {
        var bits: DirtyBitmap? = working
        state.withLock { state in
            precondition(
                state.cursor == 0 && state.outstanding.isEmpty && state.pending.isEmpty,
                "a job that runs is narrowed")
            guard let bits = bits.take() else { return }
            precondition(bits.size == state.working.size)
            state.working = bits
        }
    }

    /// Whether `next` may find something although it just did not: another worker asks the source
    /// about a stretch, and most of that will be left.
    package var mayHaveMore: Bool {
        state.withLock { $0.asking > 0 || !$0.pending.isEmpty }
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

    /// Makes what was given back, what has arrived and, unless `retrying` is false, what was
    /// deferred the work of a new pass.
    ///
    /// - Precondition: no run is out. The older of two copies of one place could land last.
    /// - Returns: the bytes that are dirty. If there are none, and nothing arrives any more, all
    ///   but what stays deferred was copied.
    /// - Complexity: O(words).
    package func beginPass(retrying: Bool = true) -> Int64 {
        state.withLock { state in
            state.beginPass(retrying: retrying)
            arrivals?.drain(into: &state.working)
            return state.working.dirtyBytes
        }
    }

    /// Makes dirty what has arrived, for a job that will not copy it any more.
    func takeArrivals() {
        state.withLock { arrivals?.drain(into: &$0.working) }
    }

    /// Whether anything failed in this pass and can be tried again.
    package var hasDeferred: Bool { state.withLock { $0.hasDeferred } }

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
    /// The stretch that begins first of those whose content is known, else any that waits, else the
    /// next of the bitmap.
    fileprivate mutating func takeStretch(_ limits: RunDispenser.Limits) -> RunDispenser.Stretch? {
        var best: Int?
        for (index, stretch) in pending.enumerated() {
            guard let other = best else {
                best = index
                continue
            }
            let isKnown = stretch.known != nil
            let isBetter =
                isKnown == (pending[other].known != nil)
                ? stretch.range.lowerBound < pending[other].range.lowerBound : isKnown
            if isBetter { best = index }
        }
        if let best {
            pending.swapAt(best, pending.count - 1)
            return pending.removeLast()
        }
        // A gulp is much larger than a run, so that the bitmap is looked at rarely.
        guard let run = takeDirtyRun(max(limits.data, limits.zeros), cutAt: limits.unit) else {
            return nil
        }
        cursor = run.upperBound
        return RunDispenser.Stretch(range: run, extent: extent)
    }

    /// Hands the first run of a stretch out, and keeps the rest.
    ///
    /// - Parameter extent: what the source said of where the stretch begins.
    fileprivate mutating func handOut(
        _ stretch: Range<Int64>, of extent: StorageExtent, _ limits: RunDispenser.Limits
    ) -> Run {
        let start = stretch.lowerBound
        precondition(extent.range.contains(start), "a map told of another place")
        let isZero = extent.content == .zero
        let cut = (start + (isZero ? limits.zeros : limits.data)).roundedDown(to: limits.unit)
        let end = min(stretch.upperBound, extent.range.upperBound, cut)
        outstanding.append(start..<end)
        if end < stretch.upperBound {
            pending.append(
                RunDispenser.Stretch(range: end..<stretch.upperBound, extent: extent))
        }
        checkInvariants()
        return Run(range: start..<end, isZero: isZero)
    }

    /// The next dirty bytes; if they go on, they end with a unit.
    private mutating func takeDirtyRun(_ limit: Int64, cutAt unit: Int64) -> Range<Int64>? {
        guard cursor < working.size, let run = working.takeDirtyRun(from: cursor, limit: limit)
        else { return nil }
        let end = run.upperBound.roundedDown(to: unit)
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

    fileprivate mutating func beginPass(retrying: Bool) {
        precondition(outstanding.isEmpty && pending.isEmpty, "a pass begins while runs are out")
        if retrying, let bitmap = deferred.take() { working.merge(sameSize: bitmap) }
        cursor = 0
        extent = nil
    }

    /// What was handed out last is nowhere else. O(runs that are out) in a debug build, nothing in
    /// a release build.
    fileprivate borrowing func checkInvariants() {
        #if DEBUG
            working.checkInvariants()
            assert(cursor >= 0 && cursor <= working.size)
            for stretch in pending {
                let range = stretch.range
                assert(!range.isEmpty && range.lowerBound >= 0 && range.upperBound <= cursor)
            }
            guard let last = outstanding.last else { return }
            assert(!last.isEmpty && last.lowerBound >= 0 && last.upperBound <= working.size)
            for stretch in pending {
                assert(!last.overlaps(stretch.range), "a run is out and not handed out yet")
            }
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

    fileprivate borrowing func remaining() -> DirtyBitmap {
        var copy = working.copy()
        for stretch in pending { copy.set(stretch.range) }
        for range in outstanding { copy.set(range) }
        switch deferred {
        case .some(let bitmap): copy.merge(sameSize: bitmap)
        case nil: break
        }
        return copy
    }
}
