/// How far a job is, for whoever watches it. All sizes are in bytes.
public struct JobProgress: Sendable {
    /// Where the job was at the beginning of the look: if it had ended, nothing else changes any
    /// more.
    public let phase: JobPhase
    /// What `planned` and `done` are about.
    public let activity: MirrorPhase
    /// What is to be made identical, or compared.
    public let planned: Int64
    /// What of that is complete.
    public let done: Int64
    /// What was read of the source, or of both sides of a comparison that is a job of its own.
    public let read: Int64
    /// What was written.
    public let written: Int64
    /// What was made to read as zeros without writing.
    public let zeroed: Int64
    /// Zeros that the target was known to have.
    public let skipped: Int64
    /// The error that the job waits with, for somebody to resume it.
    public let pausedBy: MirrorError?
    /// How many times the job has begun to wait with an error. A job that is resumed too soon waits
    /// again before anybody who looks now and then has seen it go on; this number tells.
    public let pauses: Int
    /// What only a live mirror has; nil: it is another job.
    public let live: LiveProgress?

    /// Whether the job starts nothing new until it is resumed.
    public var isPaused: Bool { phase.isPaused }
}

extension JobProgress {
    /// A look at what a copying job has counted.
    ///
    /// - Parameter phase: where the job was before the counters are read.
    init(
        _ counters: JobCounters, _ phase: JobPhase, planned: Int64,
        pauseState: (error: MirrorError?, pauses: Int), live: LiveProgress? = nil
    ) {
        self.init(
            phase: phase, activity: phase == .flushing ? .flushing : .copying, planned: planned,
            done: counters.done.value, read: counters.read.value,
            written: counters.written.value, zeroed: counters.zeroed.value,
            skipped: counters.skipped.value,
            // It may have been paused since.
            pausedBy: phase.isPaused ? pauseState.error : nil,
            pauses: pauseState.pauses, live: live)
    }

    /// The same for a job that compares now.
    func verifying(
        _ comparison: JobProgress, as activity: MirrorPhase = .verifying
    ) -> JobProgress {
        JobProgress(
            phase: phase, activity: activity, planned: comparison.planned,
            done: comparison.done, read: read, written: written, zeroed: zeroed, skipped: skipped,
            pausedBy: nil, pauses: pauses, live: live)
    }
}

/// What a job is at, as far as bytes are concerned. The raw values are part of the JSON interface.
public enum MirrorPhase: String, Sendable, CaseIterable {
    /// Both sides are compared, to copy what differs.
    case comparing
    /// Bytes are read and written.
    case copying
    /// All is written, and the target is being brought to stable storage.
    case flushing
    /// Both sides are compared after the copy.
    case verifying
}

/// The progress of a job as it comes: see `Job.updates`.
public struct JobUpdates: AsyncSequence, Sendable {
    /// One look at the job.
    public typealias Element = JobProgress
    /// Watching can't fail.
    public typealias Failure = Never

    let interval: Duration
    let look: @Sendable () -> JobProgress

    /// Begins to watch, with a first value at once.
    public func makeAsyncIterator() -> Iterator { Iterator(updates: self) }

    /// One way through the progress of a job.
    public struct Iterator: AsyncIteratorProtocol {
        private let updates: JobUpdates
        private var hasBegun = false
        private var hasEnded = false

        fileprivate init(updates: JobUpdates) { self.updates = updates }

        /// The next look; nil after the one that saw the end and, after the first look, if the task
        /// is cancelled.
        public mutating func next() async -> JobProgress? { await next(isolation: nil) }

        /// The next look; nil after the one that saw the end and, after the first look, if the task
        /// is cancelled.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> JobProgress? {
            guard !hasEnded else { return nil }
            if hasBegun {
                do {
                    try await Task.sleep(for: updates.interval)
                } catch {
                    hasEnded = true
                    return nil
                }
            }
            hasBegun = true
            let progress = updates.look()
            hasEnded = progress.phase == .ended
            return progress
        }
    }
}
