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
/// again, and nothing is lost. What a worker could not copy comes back by `giveBack` (it stays
/// dirty) or `defer` (it is tried again in a pass of its own).
package final class RunDispenser: Sendable {
    private struct State: ~Copyable {
        var working: DirtyBitmap
        /// What failed in this pass, and is tried again in the next.
        var deferred: DirtyBitmap
        /// Bits up to here have been handed out in this pass.
        var cursor: Int64 = 0
        /// Taken from the bitmap, and not yet handed out.
        var pending: Range<Int64> = 0..<0
        /// What the source said last about where it lives, so that it isn't asked for each run.
        var extent: Range<Int64> = 0..<0
        var extentIsZero = false
    }

    private let state: Mutex<State>
    private let source: any SourceMap
    private let blockSize: Int64

    /// Runs are cut on multiples of `blockSize` only, which no granule may be smaller than.
    package init(working: consuming DirtyBitmap, source: any SourceMap, blockSize: Int64) {
        precondition(working.granularity.bytes >= blockSize)
        self.source = source
        self.blockSize = blockSize
        let deferred = DirtyBitmap(size: working.size, granularity: working.granularity)
        state = Mutex(State(working: working, deferred: deferred))
    }

    /// The next dirty run, at most `dataLimit` bytes of data or `zeroLimit` bytes of zeros; nil at
    /// the end of the pass. Complexity: O(1) for most runs, O(words) over clean stretches of the
    /// bitmap.
    package func next(dataLimit: Int64, zeroLimit: Int64) throws(StorageError) -> Run? {
        try state.withLock { (state) throws(StorageError) -> Run? in
            if state.pending.isEmpty {
                // A gulp is much larger than a run, so that the bitmap is looked at rarely.
                guard state.cursor < state.working.size,
                    let run = state.working.takeDirtyRun(
                        from: state.cursor, limit: max(dataLimit, zeroLimit))
                else { return nil }
                state.cursor = run.upperBound
                state.pending = run
            }
            let start = state.pending.lowerBound
            if !state.extent.contains(start) {
                (state.extent, state.extentIsZero) = try alignedExtent(at: start)
            }
            let limit = state.extentIsZero ? zeroLimit : dataLimit
            let end = min(state.pending.upperBound, state.extent.upperBound, start + limit)
            state.pending = end..<state.pending.upperBound
            return Run(range: start..<end, isZero: state.extentIsZero)
        }
    }

    /// What the source has at `start`, with its end moved onto a block: data grows, zeros shrink.
    private func alignedExtent(at start: Int64) throws(StorageError) -> (Range<Int64>, Bool) {
        let extent = try source.content(at: start)
        let end = extent.range.upperBound
        let mask = blockSize - 1
        let isZero = extent.content == .zero
        if end == source.size { return (start..<end, isZero) }
        if isZero, end & ~mask > start { return (start..<(end & ~mask), true) }
        return (start..<min((end + mask) & ~mask, source.size), false)
    }

    /// Marks a run that was not copied dirty again. It is not handed out again in this pass.
    package func giveBack(_ range: Range<Int64>) {
        state.withLock { $0.working.set(range) }
    }

    /// Marks bytes that failed, for the retry pass.
    package func `defer`(_ range: Range<Int64>) {
        state.withLock { $0.deferred.set(range) }
    }

    /// Makes what was deferred the work of a new pass; false if nothing was.
    package func beginRetryPass() -> Bool {
        state.withLock { state in
            guard !state.deferred.isClean else { return false }
            // The sizes and granularities are the same, so that merging can't fail.
            do { try state.working.merge(state.deferred) } catch { return false }
            state.deferred.clearAll()
            state.cursor = 0
            state.extent = 0..<0
            return true
        }
    }

    /// Everything that is still to be copied and not in flight; for resuming and for reports.
    package func remaining() -> DirtyBitmap {
        state.withLock { state in
            var copy = state.working.copy()
            copy.set(state.pending)
            do { try copy.merge(state.deferred) } catch { copy.setAll() }
            return copy
        }
    }
}
