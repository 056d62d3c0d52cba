internal import BlockStorage
package import DirtyBitmap
package import Ring
internal import Synchronization

/// What the workers of one job share.
package final class JobState: Sendable {
    // Set at creation, never changed.

    package let plan: JobPlan
    package let dispenser: RunDispenser
    /// Bytes that the job is to make identical.
    package let planned: Int64
    let control: JobControl
    let checkpoints: Checkpoints
    let log: JobLog
    /// Throws if something that was written to the target is lost, whoever was told.
    private let requireNothingLost: @Sendable () throws(MirrorError) -> Void

    // Shared by the workers, and read by whoever watches.

    let counters = JobCounters()
    let failures = FailureLog()
    let zeroing: ZeroLadder
    private let crew: Mutex<Crew>

    private struct Crew {
        var active: Int
        var retries: UInt64 = 0
        var statistics = QueueStatistics()
        var flushed = false
        /// Something was lost though every flush has succeeded.
        var hasHiddenLosses = false
        /// A flush has failed, or a ring is broken: what was written since the last good one may be
        /// gone, or still be written over.
        var hasLostWrites = false
    }

    package init(
        plan: JobPlan, working: consuming DirtyBitmap, speedLimit: Int64?, workers: Int,
        checkpoints: Checkpoints = Checkpoints(),
        requireNothingLost: @escaping @Sendable () throws(MirrorError) -> Void = {},
        log: JobLog = JobLog(nil)
    ) {
        self.requireNothingLost = requireNothingLost
        self.plan = plan
        self.checkpoints = checkpoints
        self.log = log
        planned = working.dirtyBytes
        dispenser = RunDispenser(
            working: working, source: plan.source, blockSize: plan.blockSize, unit: plan.unit,
            slots: workers * plan.depth)
        control = JobControl(speedLimit: speedLimit)
        zeroing = ZeroLadder(
            start: plan.zeroes == .write || !plan.target.zeroesPlaces ? .writeZeros : .punchHole,
            zeroesRanges: plan.target.zeroesRanges)
        crew = Mutex(Crew(active: workers))
    }

    /// A worker has nothing left to do. True for the last one, who does what needs everybody to be
    /// done.
    func leave() -> Bool {
        crew.withLock { crew in
            crew.active -= 1
            return crew.active == 0
        }
    }

    /// Makes what failed the work of another pass; false if nothing did.
    func beginRetryPass() -> Bool {
        guard dispenser.beginRetryPass() else { return false }
        failures.removeAll()
        // It goes over whole granules again, also over the runs in them that are done already.
        counters.done.store(planned - dispenser.remaining().dirtyBytes, ordering: .relaxed)
        return true
    }

    /// Adds up what the workers did, at the end of each.
    func add(retries: UInt64, statistics: QueueStatistics) {
        crew.withLock { crew in
            crew.retries &+= retries
            crew.statistics += statistics
        }
    }

    func markFlushed() { crew.withLock { $0.flushed = true } }

    /// A flush failed, which is final: the kernel reports it once, and the next one may succeed.
    func flushFailed(_ cause: FailureCause) {
        crew.withLock { $0.hasLostWrites = true }
        control.fail(.flush(name: plan.target.name, cause: cause))
    }

    /// What was flushed could not be made last, which is as final.
    func commitFailed(_ error: StorageError) {
        crew.withLock { $0.hasLostWrites = true }
        control.fail(.storage(error))
    }

    /// A ring is broken. What it has in flight may still be written, wherever that was to go, so
    /// that nothing may be promised any more, and no place that was given be used for another
    /// purpose.
    func lostTrack(_ error: RingError) {
        crew.withLock { $0.hasLostWrites = true }
        control.fail(.ring(error))
    }

    /// The rings were told of no loss. Someone else may have been, of one below a loop device for
    /// instance, and only what nobody else asks by can tell.
    ///
    /// - Returns: whether nothing was lost. If something was, nothing is known of the target.
    @discardableResult
    func settleLosses() -> Bool {
        do throws(MirrorError) {
            try requireNothingLost()
            return true
        } catch {
            crew.withLock { crew in
                crew.hasLostWrites = true
                crew.hasHiddenLosses = true
                crew.flushed = false
            }
            control.fail(error)
            return false
        }
    }

    var hasHiddenLosses: Bool { crew.withLock { $0.hasHiddenLosses } }
    var hasLostWrites: Bool { crew.withLock { $0.hasLostWrites } }
    package var isFlushed: Bool { crew.withLock { $0.flushed } }

    /// What the target is not known to hold on stable storage, once every worker has ended: what
    /// was not copied or, if the last flush did not succeed, what was not at the last checkpoint;
    /// nil if there was none, and all is to be copied again.
    package func undone() -> DirtyBitmap? {
        if hasHiddenLosses { return nil }
        return isFlushed ? dispenser.remaining() : checkpoints.durable()
    }

    package var statistics: QueueStatistics { crew.withLock { $0.statistics } }
    package var retries: UInt64 { crew.withLock { $0.retries } }

    /// How the job ended, once every worker has.
    ///
    /// Success is not the absence of errors: it takes every planned byte done, and a flush after
    /// them.
    package func outcome() -> MirrorOutcome {
        let isComplete =
            isFlushed && counters.done.value == planned && dispenser.isClean
        switch control.verdict {
        case .cancelled where !isComplete: return .cancelled
        case .cancelled, nil: break
        case .some(let error): return .failed(error)
        }
        let failures = failures.all
        if let first = failures.first {
            let bytes = failures.reduce(0) { $0 + Int64($1.range.count) }
            return .failed(
                .incomplete(
                    failedBytes: bytes, firstOffset: first.range.lowerBound,
                    ranges: failures.count))
        }
        precondition(isComplete, "a job ended without an error and without a mirror")
        return .mirrored
    }
}
