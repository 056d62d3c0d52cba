internal import Synchronization

/// A comparison that may be stopped before it is there.
final class JobHandle: Sendable {
    private struct State {
        var job: CompareJob?
        var isCancelled = false
    }

    private let state = Mutex(State())

    func run(_ job: CompareJob) -> CompareReport {
        let isCancelled = state.withLock { state in
            state.job = job
            return state.isCancelled
        }
        if isCancelled { job.cancel() }
        return job.runAndWait()
    }

    func cancel() {
        let job = state.withLock { state in
            state.isCancelled = true
            return state.job
        }
        job?.cancel()
    }

    var progress: (planned: Int64, done: Int64)? { state.withLock { $0.job }?.progress }
}
