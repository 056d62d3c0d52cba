internal import Synchronization

/// How a job is steered from outside, and how its workers tell each other to stop.
///
/// Workers look at two atomics a request; everything else is behind the lock.
final class JobControl: Sendable {
    struct State {
        var error: MirrorError?
        /// The error that an error policy paused the job for.
        var pausedBy: MirrorError?
        var pauses = 0
    }

    let speed: SpeedLimit
    private let stopping = Atomic<Bool>(false)
    private let paused = Atomic<Bool>(false)
    private let cancelled = Atomic<Bool>(false)
    private let state = Mutex(State())

    init(speedLimit: Int64?) { speed = SpeedLimit(bytesPerSecond: speedLimit) }

    /// Nothing new may be started; what is in flight still completes.
    var isStopping: Bool { stopping.load(ordering: .acquiring) }
    var isPaused: Bool { paused.load(ordering: .acquiring) }

    /// The first error wins: what comes later is most often its consequence.
    func fail(_ error: MirrorError) {
        state.withLock { if $0.error == nil { $0.error = error } }
        stopping.store(true, ordering: .releasing)
    }

    /// Takes no lock: a signal handler may call it, between any two instructions.
    func cancel() {
        cancelled.store(true, ordering: .releasing)
        stopping.store(true, ordering: .releasing)
    }

    func pause(because error: MirrorError? = nil) {
        state.withLock { state in
            // Resuming takes no lock, so that it leaves the error behind.
            if !isPaused { state.pausedBy = nil }
            if let error, state.pausedBy == nil {
                state.pausedBy = error
                state.pauses += 1
            }
            paused.store(true, ordering: .releasing)
        }
    }

    /// Takes no lock: a signal handler may call it, between any two instructions.
    func resume() { paused.store(false, ordering: .releasing) }

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
