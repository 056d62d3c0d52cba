internal import BlockStorage
internal import DirtyBitmap
internal import Ring
internal import Synchronization

// What follows on a pass: another one, a flush, a moment of waiting, or the end.
//
// A job whose source stands still makes a pass, and one more for what failed. One whose source is
// written goes on until what is left can be copied in a short pause of the writers. They are held
// back then, and only if they have been until the target was flushed, the job is done.

/// Where a job is in its passes. Changed by one worker, while no other does anything. Those who
/// watch the job have a copy of `progress`: they never wait for what that worker waits for.
struct Passes {
    var number = 0
    var hasRetried = false
    /// The writers of the source are held back.
    var isQuiet = false
    /// Nothing is left, and nothing arrives any more: proven while the writers were held back and
    /// the target was flushed.
    var hasAll = false
    /// What flush is under way; nil: none.
    var flush: Flush?
    /// Nothing was copied since the target was flushed.
    var isFlushed = false
    /// What is held back above the source is being written to it, or was since the last copy.
    var isSettling = false
    /// How often the writers were let go too early, or could not be held back.
    var failedAttempts = 0
    /// When it was last begun to hold them back.
    var quietSince: Int64 = 0
    /// For so long they were left alone after the last time, and until then.
    var rest: Int64 = 0
    var restEnd: Int64 = 0
    /// A pass is under way, and has not been measured.
    var isCopying = false
    /// How often the job had been resumed when it began.
    var resumes = 0
    /// When the pass or the flush began that is under way.
    var since: Int64 = 0
    /// `done` at that moment.
    var doneBefore: Int64 = 0
    /// When the source was last asked what has arrived.
    var drained: Int64 = 0
    /// What was dirty then and was not copied since.
    var leftOver: Int64 = 0
    var measure = LiveMeasure()
    /// How long the copy may take while the writers are held back: what is compared after it takes
    /// time, too.
    var longestCopy = Int64.max
    var hasWarned = false
    var progress = LiveProgress()

    enum Flush {
        /// The target of a live job is brought to stable storage, and goes on being written.
        case between
        /// Nothing is written any more.
        case last
    }
}

extension SharedJob {
    /// Waits until no worker has anything to do, and tells what follows.
    func next() -> Crew.Step {
        crew.next {
            // The crew lets one worker in here, so that nobody waits for this lock.
            passes.withLock { passes in
                defer { show(passes) }
                return decide(&passes)
            }
        }
    }

    /// How far a live job is; nil for one whose source stands still.
    var liveProgress: LiveProgress? { live == nil ? nil : shownProgress.withLock { $0 } }

    private func show(_ passes: Passes) {
        let progress = passes.progress
        shownProgress.withLock { $0 = progress }
    }

    private func decide(_ passes: inout Passes) -> Crew.Step {
        if let flush = passes.flush.take() {
            if flush == .last {
                if let live, !live.plan.holdsBeyondFlush || !passes.hasAll { release(&passes) }
                return .end
            }
            passes.isFlushed = true
            passes.measure.flushed(in: Clock.now - passes.since)
        } else {
            notePass(&passes)
        }
        guard !control.isStopping else { return stop(&passes) }
        guard let live else {
            return beginPass(&passes) ? .copy : lastFlush(&passes)
        }
        return decide(live, &passes)
    }

    // MARK: A source that stands still, and the end of every job

    /// Makes what failed, once, and what has arrived the work of another pass; false if there is
    /// nothing.
    private func beginPass(_ passes: inout Passes) -> Bool {
        let retries = !passes.hasRetried && dispenser.hasDeferred
        if retries {
            passes.hasRetried = true
            failures.removeAll()
            log.retryPass()
        }
        let work = dispenser.beginPass(retrying: retries)
        passes.progress.dirty = work
        guard work > 0 else { return false }
        // It goes over whole granules, also over the runs in them that are done already.
        let left = dispenser.remaining().dirtyBytes
        let planned = max(counters.planned.value, left)
        counters.planned.store(planned, ordering: .relaxed)
        counters.done.store(planned - left, ordering: .relaxed)
        return true
    }

    private func copy(_ passes: inout Passes) -> Crew.Step {
        passes.number += 1
        passes.isFlushed = false
        passes.isSettling = false
        passes.isCopying = true
        passes.resumes = control.resumes
        passes.leftOver = 0
        passes.since = Clock.now
        passes.doneBefore = counters.done.value
        return .copy
    }

    private func lastFlush(_ passes: inout Passes) -> Crew.Step {
        passes.flush = .last
        control.beginFlush()
        return .flush(isFinal: true)
    }

    /// What was told and not heard yet is not copied any more, and nobody is to wait for the flush.
    private func stop(_ passes: inout Passes) -> Crew.Step {
        if !passes.hasAll { release(&passes) }
        if live != nil, !passes.hasAll { dispenser.takeArrivals() }
        return lastFlush(&passes)
    }

    // MARK: A source that is written

    private func decide(_ live: LiveSource, _ passes: inout Passes) -> Crew.Step {
        if wereLetGo.exchange(false, ordering: .acquiringAndReleasing) { release(&passes) }
        if passes.isQuiet, passes.isFlushed { return prove(live, &passes) }
        // What it writes is the work of a pass, or of the pause if it is little.
        if passes.isSettling, !hasSettled.load(ordering: .acquiring) { return .wait }
        if control.isPaused { return .wait }
        let hasWork = beginPass(&passes)
        noteArrivals(live, &passes)
        if passes.isQuiet {
            return hasWork ? copy(&passes) : flushBetween(&passes)
        }
        if isDue(live.plan, passes) {
            // What the target holds back would make the pause longer.
            guard passes.isFlushed else { return flushBetween(&passes) }
            guard passes.isSettling else { return settle(live, &passes) }
            return quiesce(live, &passes)
        }
        // What is held back by the time when it is due is written then.
        passes.isSettling = false
        if hasWork {
            control.leaveReady()
            return copy(&passes)
        }
        guard passes.isFlushed else { return flushBetween(&passes) }
        if dispenser.isClean, live.changes.isAtRest { control.becomeReady() }
        return .wait
    }

    /// Whether the writers are to be held back now.
    private func isDue(_ plan: LivePlan, _ passes: Passes) -> Bool {
        let isWanted =
            switch plan.ending {
            case .whenItFits: true
            case .whenAsked: control.isAskedToComplete
            case .when(let isTime): isTime() || control.isAskedToComplete
            }
        guard isWanted, Clock.now >= passes.restEnd else { return false }
        if passes.progress.dirty == 0 { return true }
        if let limit = plan.passesMax, passes.number >= limit { return true }
        return passes.measure.pause(dirty: passes.progress.dirty) <= passes.longestCopy
    }

    private func flushBetween(_ passes: inout Passes) -> Crew.Step {
        passes.flush = .between
        passes.since = Clock.now
        return .flush(isFinal: false)
    }

    /// A thread waits for it, so that the job can be stopped meanwhile.
    private func settle(_ live: LiveSource, _ passes: inout Passes) -> Crew.Step {
        passes.isSettling = true
        hasSettled.store(false, ordering: .releasing)
        let body: @Sendable () -> Void = { [self] in
            live.changes.settle()
            hasSettled.store(true, ordering: .releasing)
        }
        if let thread = makeThread(body) { thread.detach() } else { body() }
        return .wait
    }

    private func quiesce(_ live: LiveSource, _ passes: inout Passes) -> Crew.Step {
        guard control.beginCompletion() else { return .wait }
        passes.quietSince = Clock.now
        passes.isQuiet = true
        passes.progress.isHeld = true
        show(passes)
        do throws(MirrorError) { try live.changes.quiesce() } catch {
            if error.mayPass { return tryAgain(live, &passes, because: error) }
            release(&passes)
            control.fail(error)
            return stop(&passes)
        }
        passes.measure.quiesced(in: Clock.now - passes.quietSince)
        // Only what is found now is all there is.
        guard beginPass(&passes) else { return flushBetween(&passes) }
        return copy(&passes)
    }

    /// The target was flushed with nothing dirty, as the writers are held back.
    private func prove(_ live: LiveSource, _ passes: inout Passes) -> Crew.Step {
        // What they had begun before may have come to an end since: then it is copied first.
        if beginPass(&passes) { return copy(&passes) }
        do throws(MirrorError) {
            switch try live.changes.provenMoment() {
            case .proven: break
            case .arrived: return beginPass(&passes) ? copy(&passes) : .wait
            case .released:
                let attempts = passes.failedAttempts + 1
                return tryAgain(live, &passes, because: .live(.notHeld(attempts: attempts)))
            }
        } catch {
            release(&passes)
            control.fail(error)
            return stop(&passes)
        }
        passes.hasAll = true
        if !live.plan.holdsBeyondFlush { release(&passes) }
        return lastFlush(&passes)
    }

    /// The most that the writers are left alone for because it could not be tried for long.
    private static var restMax: Int64 { 10_000_000_000 }

    /// The writers were let go before all was proven, or were not held back in time: the next pause
    /// has to be shorter. They go on for at least as long as they have waited.
    private func tryAgain(
        _ live: LiveSource, _ passes: inout Passes, because error: MirrorError
    ) -> Crew.Step {
        release(&passes)
        guard !control.isStopping else { return stop(&passes) }
        passes.failedAttempts += 1
        passes.measure.wasTooShort()
        guard passes.failedAttempts < live.plan.attemptsMax else {
            control.fail(error)
            return stop(&passes)
        }
        log.writersNotHeld(error)
        let now = Clock.now
        passes.rest = max(now - passes.quietSince, min(passes.rest * 2, Self.restMax))
        passes.restEnd = now + passes.rest
        passes.isSettling = false
        control.leaveCompletion()
        return .wait
    }

    private func release(_ passes: inout Passes) {
        guard passes.isQuiet else { return }
        passes.isQuiet = false
        passes.progress.isHeld = false
        letWritersGo(passes.hasAll)
    }

    /// - Parameter hasAll: the job has all that it was to copy. It is as it should be then, also
    ///   where something holds the writers back still; who has begun the job hears of that.
    private func letWritersGo(_ hasAll: Bool) {
        guard let error = live?.changes.resume() else { return }
        log.writersStillHeld(error)
        guard hasAll else { return control.fail(error) }
        shortfall.withLock { $0 = error }
    }

    /// Has the job wait with an error. Any worker may call it, while others copy.
    ///
    /// Writers that are held back go on first: nobody knows how long the pause will be. What they
    /// write is copied when the job goes on, and then they are held back anew.
    func pause(because error: MirrorError) {
        if control.phase == .completing {
            wereLetGo.store(true, ordering: .releasing)
            letWritersGo(false)
            shownProgress.withLock { $0.isHeld = false }
            control.leaveCompletion()
        }
        if control.pause(because: error) { log.paused(error) }
    }

    // MARK: Measuring

    /// The first worker begins.
    func noteStart() {
        passes.withLock { passes in
            guard live != nil, passes.since == 0 else { return }
            passes.number = 1
            passes.isCopying = true
            passes.resumes = control.resumes
            passes.since = Clock.now
            passes.drained = passes.since
            passes.progress.passes = 1
            passes.progress.dirty = planned
            show(passes)
        }
    }

    /// A pass may have ended. One that was paused tells nothing of the rate.
    private func notePass(_ passes: inout Passes) {
        guard live != nil, passes.isCopying else { return }
        passes.isCopying = false
        guard passes.resumes == control.resumes else { return }
        passes.measure.copied(
            counters.done.value - passes.doneBefore, in: Clock.now - passes.since)
    }

    private func noteArrivals(_ live: LiveSource, _ passes: inout Passes) {
        let (now, dirty) = (Clock.now, passes.progress.dirty)
        passes.measure.arrived(max(dirty - passes.leftOver, 0), in: now - passes.drained)
        passes.drained = now
        passes.leftOver = dirty
        passes.progress.passes = passes.number
        passes.progress.copyRate = passes.measure.copyRate
        passes.progress.dirtyRate = passes.measure.dirtyRate
        let comparison = timeToCompare(live.plan, &passes)
        passes.progress.predictedPause = passes.measure.pause(dirty: dirty) + comparison
        passes.progress.timeToReady = passes.measure.timeToConverge(
            dirty: dirty, maxPause: passes.longestCopy)
    }

    /// How long what follows on the copy takes. If that is more than the pause has room for, the
    /// job goes on, since the mirror does not depend on it; it is said once.
    private func timeToCompare(_ plan: LivePlan, _ passes: inout Passes) -> Int64 {
        let bytes =
            switch plan.comparison {
            case .none: Int64(0)
            case .copied: planned
            case .all: self.plan.source.size
            }
        let time = passes.measure.comparison(of: bytes)
        let least = plan.maxPause / 4
        passes.longestCopy = max(plan.maxPause - time, least)
        if time > plan.maxPause - least, bytes > 0, !passes.hasWarned {
            passes.hasWarned = true
            log.comparisonTooLong(time)
        }
        return time
    }
}
