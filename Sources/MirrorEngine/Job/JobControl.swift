internal import Ring
internal import Synchronization

/// How a job is steered from outside, and how its workers tell each other to stop.
///
/// Workers look at two atomics a request; everything else is behind the lock.
package final class JobControl: Sendable {
    struct State {
        var error: MirrorError?
        /// The error that an error policy paused the job for.
        var pausedBy: MirrorError?
        var pauses = 0
    }

    let speed: SpeedLimit
    private let stopping = Atomic<Bool>(false)
    private let cancelled = Atomic<Bool>(false)
    /// The raw value of the phase.
    private let current = Atomic<UInt8>(JobPhase.created.rawValue)
    private let resumptions = Atomic<Int>(0)
    private let completing = Atomic<Bool>(false)
    /// Raised when a paused job has something to do.
    private let wakeups = WakeupCount()
    private let state = Mutex(State())

    init(speedLimit: Int64?) { speed = SpeedLimit(bytesPerSecond: speedLimit) }

    /// Nothing new may be started; what is in flight still completes.
    var isStopping: Bool { stopping.load(ordering: .acquiring) }
    var isPaused: Bool { phase.isPaused }

    var phase: JobPhase { Self.phase(current.load(ordering: .acquiring)) }

    private static func phase(_ value: UInt8) -> JobPhase {
        guard let phase = JobPhase(rawValue: value) else {
            preconditionFailure("a job is in phase \(value), which there is not")
        }
        return phase
    }

    /// Moves to the phase that `next` makes of the current one, whatever other threads do
    /// meanwhile; not at all where that is nil or the same. Takes no lock.
    private func move(_ next: (JobPhase) -> JobPhase?) {
        var value = current.load(ordering: .acquiring)
        while true {
            let old = Self.phase(value)
            guard let new = next(old), new != old else { return }
            precondition(old.successors.contains(new), "a job that is \(old) became \(new)")
            let (isDone, found) = current.weakCompareExchange(
                expected: value, desired: new.rawValue, ordering: .acquiringAndReleasing)
            if isDone { return }
            value = found
        }
    }

    /// The first byte is about to be asked for. A job that was paused before stays so.
    func start() { move { $0 == .created ? .running : nil } }

    /// A live mirror has what its source has, on stable storage.
    func becomeReady() { move { $0 == .running ? .ready : nil } }

    /// The source was written.
    func leaveReady() { move { $0 == .ready ? .running : nil } }

    /// The writers are about to be held back: nothing may slow down the rest.
    ///
    /// - Returns: whether they may be; not while the job is paused.
    func beginCompletion() -> Bool {
        move { $0 == .running || $0 == .ready ? .completing : nil }
        guard phase == .completing else { return false }
        speed.lift()
        return true
    }

    /// The writers go on, although not all was copied.
    func leaveCompletion() {
        move { $0 == .completing ? .running : nil }
        speed.restore()
    }

    /// Somebody has asked for the end of a live mirror.
    var isAskedToComplete: Bool { completing.load(ordering: .acquiring) }

    /// Nothing is copied any more, and the last flush begins.
    func beginFlush() { move { $0 == .ended ? nil : .flushing } }

    /// What was copied and flushed is compared.
    func beginVerification() { move { $0 == .flushing ? .verifying : nil } }

    /// The result of the job is certain, and what follows from it begins.
    func settle() { move { $0 == .ended ? nil : .settling } }

    /// The job is over.
    func end() { move { _ in .ended } }

    /// Does what a verb asks for.
    ///
    /// - Throws: if it means nothing in the phase that the job was in.
    func apply(_ verb: JobVerb) throws(JobVerbError) {
        let phase = phase
        guard phase.allows(verb) else { throw JobVerbError(verb: verb, phase: phase) }
        switch verb {
        case .pause: pause()
        case .resume: resume()
        case .cancel: cancel()
        case .complete:
            guard !completing.exchange(true, ordering: .acquiringAndReleasing) else {
                throw JobVerbError(verb: verb, phase: phase, isRepeated: true)
            }
        case .setSpeed(let limit): speed.set(limit)
        }
    }

    /// The first error wins: what comes later is most often its consequence.
    func fail(_ error: MirrorError) {
        state.withLock { if $0.error == nil { $0.error = error } }
        stopping.store(true, ordering: .releasing)
        wakeups.raise()
    }

    /// Takes no lock: a signal handler may call it, between any two instructions.
    func cancel() {
        cancelled.store(true, ordering: .releasing)
        stopping.store(true, ordering: .releasing)
        wakeups.raise()
    }

    /// - Returns: whether the job begins to wait with this error, and did not wait with one before.
    @discardableResult
    func pause(because error: MirrorError? = nil) -> Bool {
        state.withLock { state in
            defer { move(\.pausing) }
            // Resuming takes no lock, so that it leaves the error behind.
            if !isPaused { state.pausedBy = nil }
            guard let error, state.pausedBy == nil else { return false }
            state.pausedBy = error
            state.pauses += 1
            return true
        }
    }

    /// Takes no lock: a signal handler may call it, between any two instructions.
    func resume() {
        // First: what is asked for as soon as the job goes on has to count as later.
        resumptions.add(1, ordering: .acquiringAndReleasing)
        move(\.resuming)
        wakeups.raise()
    }

    /// Waits while the job is paused and is not to stop, at most so many nanoseconds.
    func waitWhilePaused(limit: Int64) {
        let known = wakeups.value
        guard isPaused, !isStopping else { return }
        wakeups.wait(past: known, limit: limit)
    }

    /// How often somebody has said that the job may go on. What was asked for before the last time
    /// may have failed of what is mended by now.
    var resumes: Int { resumptions.load(ordering: .acquiring) }

    /// The error that the job waits with, and how many times it has begun to wait with one.
    var pausedBy: MirrorError? { pauseState.error }

    /// The same, and how often an error has paused the job so far.
    var pauseState: (error: MirrorError?, pauses: Int) {
        state.withLock { (isPaused ? $0.pausedBy : nil, $0.pauses) }
    }

    /// Why the job stopped; nil if nobody stopped it.
    var verdict: MirrorError? {
        state.withLock { $0.error } ?? (cancelled.load(ordering: .acquiring) ? .cancelled : nil)
    }
}
