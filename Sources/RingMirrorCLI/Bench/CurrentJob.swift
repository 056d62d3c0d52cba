import RingMirror
import Synchronization

/// The job that runs now, for signals: jobs come and go, and an interrupt between two of them must
/// not get lost.
final class CurrentJob: Sendable {
    private struct State {
        var running: (job: MirrorJob, title: String)?
        var isCancelled = false
    }

    private let state = Mutex(State())

    /// The last job that began, with what it is called.
    var running: (job: MirrorJob, title: String)? { state.withLock { $0.running } }

    /// To be called before the job runs: it ends at once if an interrupt came earlier.
    func begin(_ job: MirrorJob, _ title: String) {
        let isCancelled = state.withLock { state in
            state.running = (job, title)
            return state.isCancelled
        }
        if isCancelled { job.cancel() }
    }

    /// Cancels the job that runs, or else the next one.
    func cancel() {
        let job = state.withLock { state in
            state.isCancelled = true
            return state.running?.job
        }
        job?.cancel()
    }
}
