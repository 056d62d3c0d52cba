import RingMirror
import Synchronization

/// A running job as its control socket sees it.
struct SteeredJob: Sendable {
    /// Does what a verb asks for.
    let apply: @Sendable (JobVerb) throws(JobVerbError) -> Void
    /// How the job is now. To be looked at about once a second, for the rate.
    let status: @Sendable () -> JobStatus
}

extension SteeredJob {
    init(_ job: some Job, _ words: JobWords) {
        let startedAt = Timestamp.now
        let line = SharedLine(
            ProgressLine(verb: words.verb, planned: job.progress.planned, saved: words.saved))
        apply = { (verb) throws(JobVerbError) in try job.apply(verb) }
        status = {
            let progress = job.progress
            return JobStatus(job, progress, line.updated(by: progress), words, startedAt)
        }
    }

    private final class SharedLine: Sendable {
        private let line: Mutex<ProgressLine>

        init(_ line: ProgressLine) { self.line = Mutex(line) }

        func updated(by progress: JobProgress) -> ProgressLine {
            line.withLock {
                $0.update(done: progress.done, planned: progress.planned)
                return $0
            }
        }
    }
}
