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
    /// What tells of writes to the source while the job runs; nil: nothing does.
    private let arrivals: (any ChangeSource)?
    /// Makes the thread that ends a checkpoint; nil if there is none to be had.
    private let makeThread: MakeThread
    /// Throws if something that was written to the target is lost, whoever was told, or if
    /// something else has written it.
    private let requireNothingLost: @Sendable () throws(MirrorError) -> Void

    // Shared by the workers, and read by whoever watches.

    let counters = JobCounters()
    let failures = FailureLog()
    let zeroing: ZeroLadder
    private let crew: Crew
    private let passes = Mutex(Passes())
    /// Makes what a checkpoint has flushed last.
    private let committing = Mutex<WorkerThread?>(nil)
    private let results = Mutex(Results())

    /// Where the job is in its passes. Changed by one worker, while no other does anything.
    private struct Passes {
        var number = 0
        var hasRetried = false
        /// The writers of the source are held back.
        var isQuiet = false
        /// A pass could not begin, because nothing was left and nothing arrives any more.
        var hasAll = false
        var isFlushing = false
    }

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
        checkpoints: Checkpoints = Checkpoints(), arrivals: (any ChangeSource)? = nil,
        requireNothingLost: @escaping @Sendable () throws(MirrorError) -> Void = {},
        makeThread: @escaping MakeThread = { WorkerThread($0) },
        log: JobLog = JobLog(nil)
    ) {
        self.requireNothingLost = requireNothingLost
        self.plan = plan
        self.checkpoints = checkpoints
        self.log = log
        self.arrivals = arrivals
        self.makeThread = makeThread
        counters.planned.store(working.dirtyBytes, ordering: .relaxed)
        dispenser = RunDispenser(
            working: working, source: plan.source, blockSize: plan.blockSize, unit: plan.unit,
            slots: workers * plan.depth, workers: workers, arrivals: arrivals)
        control = JobControl(speedLimit: speedLimit)
        zeroing = ZeroLadder(
            start: plan.zeroes == .write || !plan.target.zeroesPlaces ? .writeZeros : .punchHole,
            zeroesRanges: plan.target.zeroesRanges)
        crew = Crew(members: workers)
    }

    /// Bytes that the job is to make identical, as far as that is known by now.
    package var planned: Int64 { counters.planned.value }

    /// A worker never began.
    func leave() { crew.leave() }

    /// Waits until no worker has anything to do, and tells what follows.
    func next() -> Crew.Step { crew.next { passes.withLock { decide(&$0) } } }

    private func decide(_ passes: inout Passes) -> Crew.Step {
        if passes.isFlushing {
            if passes.isQuiet { arrivals?.resume() }
            return .end
        }
        if !control.isStopping, beginPass(&passes) {
            passes.number += 1
            return .copy
        }
        // After a stop what was told and not heard yet is not copied either.
        if arrivals != nil, !passes.hasAll { dispenser.takeArrivals() }
        passes.isFlushing = true
        control.beginFlush()
        return .flush
    }

    /// A source that is written goes on being copied so often; then its writers have to wait.
    static let livePassesMax = 16

    /// Makes what failed, once, and what has arrived the work of another pass; false if there is
    /// nothing.
    private func beginPass(_ passes: inout Passes) -> Bool {
        let retries = !passes.hasRetried && dispenser.hasDeferred
        if retries {
            passes.hasRetried = true
            failures.removeAll()
            log.retryPass()
        }
        if passes.number >= Self.livePassesMax { quiesce(&passes) }
        var work = dispenser.beginPass(retrying: retries)
        if work == 0, arrivals != nil, !passes.isQuiet {
            // Only what is found now is all there is.
            quiesce(&passes)
            work = dispenser.beginPass(retrying: false)
        }
        guard work > 0 else {
            passes.hasAll = true
            return false
        }
        // It goes over whole granules, also over the runs in them that are done already.
        let left = dispenser.remaining().dirtyBytes
        let planned = max(counters.planned.value, left)
        counters.planned.store(planned, ordering: .relaxed)
        counters.done.store(planned - left, ordering: .relaxed)
        return true
    }

    private func quiesce(_ passes: inout Passes) {
        guard let arrivals, !passes.isQuiet else { return }
        passes.isQuiet = true
        arrivals.quiesce()
    }

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
        let hasAll = arrivals == nil || passes.withLock { $0.hasAll }
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
