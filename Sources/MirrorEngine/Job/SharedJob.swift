internal import BlockStorage
package import DirtyBitmap
package import Ring
internal import Synchronization

/// What the workers of one job share.
package final class SharedJob: Sendable {
    // Set at creation, never changed.

    package let plan: JobPlan
    package let dispenser: RunDispenser
    let control: JobControl
    let checkpoints: Checkpoints
    let log: JobLog
    /// What writes the source while the job runs; nil: nothing does, or nothing tells of it.
    let live: LiveSource?
    /// Makes the thread that ends a checkpoint; nil if there is none to be had.
    let makeThread: MakeThread
    /// Throws if something that was written to the target is lost, whoever was told, or if
    /// something else has written it.
    private let requireNothingLost: @Sendable () throws(MirrorError) -> Void

    // Shared by the workers, and read by whoever watches.

    let counters = JobCounters()
    let failures = FailureLog()
    let zeroing: ZeroLadder
    let crew: Crew
    let passes = Mutex(Passes())
    /// What was last known of the passes. The lock is held for a copy in or out, and no longer.
    let shownProgress = Mutex(LiveProgress())
    /// What was held back above the source has been written to it.
    let hasSettled = Atomic<Bool>(false)
    /// The writers of the source were let go because an error paused the job while they were held
    /// back.
    let wereLetGo = Atomic<Bool>(false)
    /// What went wrong behind the end of the copy, and takes nothing from it.
    let shortfall = Mutex<MirrorError?>(nil)
    /// Makes what a checkpoint has flushed last.
    private let committing = Mutex<WorkerThread?>(nil)
    private let results = Mutex(Results())

    /// What the workers did, and what became of it.
    private struct Results {
        var retries: UInt64 = 0
        var statistics = QueueStatistics()
        var flushed = false
        /// Something was lost, or written over, though every flush has succeeded.
        var hasHiddenLosses = false
        /// A flush has failed, or a ring is broken: what was written since the last good one may be
        /// gone, or still be written over.
        var hasLostWrites = false
    }

    /// Runs something on a thread of its own; nil if there is none to be had.
    package typealias MakeThread =
        @Sendable (_ body: @escaping @Sendable () -> Void) -> WorkerThread?

    package init(
        plan: JobPlan, working: consuming DirtyBitmap, speedLimit: Int64?, workers: Int,
        checkpoints: Checkpoints = Checkpoints(), live: LiveSource? = nil,
        requireNothingLost: @escaping @Sendable () throws(MirrorError) -> Void = {},
        makeThread: @escaping MakeThread = { WorkerThread($0) },
        log: JobLog = JobLog(nil)
    ) {
        self.requireNothingLost = requireNothingLost
        self.plan = plan
        self.checkpoints = checkpoints
        self.log = log
        self.live = live
        self.makeThread = makeThread
        counters.planned.store(working.dirtyBytes, ordering: .relaxed)
        dispenser = RunDispenser(
            working: working, source: plan.source, blockSize: plan.blockSize, unit: plan.unit,
            slots: workers * plan.depth, workers: workers, arrivals: live?.changes)
        control = JobControl(speedLimit: speedLimit)
        zeroing = ZeroLadder(
            start: plan.zeroes == .write || !plan.target.zeroesPlaces ? .writeZeros : .punchHole,
            zeroesRanges: plan.target.zeroesRanges)
        crew = Crew(members: workers)
    }

    /// Bytes that the job is to make identical, as far as that is known by now.
    package var planned: Int64 { counters.planned.value }

    /// Makes this all that is copied, before any worker has begun.
    ///
    /// - Returns: the same in blocks that both sides can read and write.
    func narrow(to bits: consuming DirtyBitmap) -> DirtyBitmap {
        let bits = bits.coarsened(to: plan.blockSize)
        let copy = bits.copy()
        counters.planned.store(bits.dirtyBytes, ordering: .relaxed)
        dispenser.narrow(to: bits)
        return copy
    }

    /// A worker never began.
    func leave() { crew.leave() }

    /// Adds up what the workers did, at the end of each.
    func add(retries: UInt64, statistics: QueueStatistics) {
        results.withLock { results in
            results.retries &+= retries
            results.statistics += statistics
        }
    }

    func markFlushed() { results.withLock { $0.flushed = true } }

    /// A flush failed, which is final: the kernel reports it once, and the next one may succeed.
    func flushFailed(_ cause: FailureCause) {
        results.withLock { $0.hasLostWrites = true }
        control.fail(.flush(name: plan.target.name, cause: cause))
    }

    /// What was flushed could not be made last, which is as final.
    func commitFailed(_ error: StorageError) {
        results.withLock { $0.hasLostWrites = true }
        control.fail(.storage(error))
    }

    /// A ring is broken. What it has in flight may still be written, wherever that was to go, so
    /// that nothing may be promised any more, and no place that was given be used for another
    /// purpose.
    func lostTrack(_ error: RingError) {
        results.withLock { $0.hasLostWrites = true }
        control.fail(.ring(error))
    }

    /// The flush of a checkpoint has succeeded. What follows waits for the storage: a thread does
    /// it, so that the ring goes on.
    func endCheckpoint() {
        guard !hasLostWrites else { return }
        // The one before it has nothing left to do: checkpoints don't overlap.
        waitForCheckpoint()
        let hasThread = committing.withLock { committing in
            committing = makeThread { [self] in commitCheckpoint() }
            return committing != nil
        }
        // Without a thread the worker's has to do.
        if !hasThread { commitCheckpoint() }
    }

    /// Waits for the end of a checkpoint's thread. Called before the last flush.
    func waitForCheckpoint() {
        committing.withLock { $0.take() }?.join()
    }

    private func commitCheckpoint() {
        guard settleLosses() else { return }
        do throws(StorageError) {
            try plan.target.commit(isFinal: false)
            checkpoints.end()
        } catch {
            commitFailed(error)
        }
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
            results.withLock { results in
                results.hasLostWrites = true
                results.hasHiddenLosses = true
                if !error.isOtherWriter { results.flushed = false }
            }
            control.fail(error)
            return false
        }
    }

    var hasHiddenLosses: Bool { results.withLock { $0.hasHiddenLosses } }
    var hasLostWrites: Bool { results.withLock { $0.hasLostWrites } }
    package var isFlushed: Bool { results.withLock { $0.flushed } }

    /// What the target is not known to hold on stable storage, once every worker has ended: what
    /// was not copied or, if the last flush did not succeed, what was not at the last checkpoint;
    /// nil if there was none, and all is to be copied again.
    package func undone() -> DirtyBitmap? {
        if hasHiddenLosses { return nil }
        return isFlushed ? dispenser.remaining() : checkpoints.durable()
    }

    package var statistics: QueueStatistics { results.withLock { $0.statistics } }
    package var retries: UInt64 { results.withLock { $0.retries } }

    /// How the job ended, once every worker has.
    ///
    /// Success is not the absence of errors: it takes every planned byte done, and a flush after
    /// them.
    package func outcome() -> MirrorOutcome {
        let hasAll = live == nil || passes.withLock { $0.hasAll }
        let isComplete =
            isFlushed && hasAll && counters.done.value == planned && dispenser.isClean
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
