internal import Ring
internal import Synchronization

/// A piece of work that takes its time: it can be watched and steered while it runs.
///
/// A job runs once, by `run` or `runAndWait`. Everything else may be called from any thread, before
/// it runs, meanwhile and afterwards.
public protocol Job: AnyObject, Sendable {
    /// What is known when the job has ended, well or not: a job throws nothing.
    associatedtype Report: Sendable

    /// Tells the job from all others of this process. A job that is the copying of another one has
    /// the same: it is steered and ends with it.
    var id: JobID { get }

    /// What the job does.
    var kind: JobKind { get }

    /// Where the job is.
    var phase: JobPhase { get }

    /// How far the job is. `updates` gives such values as they come.
    var progress: JobProgress { get }

    /// Bytes a second at most, as the options or `JobVerb.setSpeed` had it last; nil for no limit.
    var speedLimit: Int64? { get }

    /// Does what a verb asks for.
    ///
    /// - Throws: if it means nothing to a job of this kind, or in the phase that the job was in: it
    ///   has no effect then.
    func apply(_ verb: JobVerb) throws(JobVerbError)

    /// Stops the job: what is in flight completes. Without an effect where `apply(.cancel)` throws.
    func cancel()

    /// Runs the job on threads of its own, and waits for its end.
    ///
    /// It needs no Swift concurrency and no Dispatch. Where a thread can't be made, the caller's
    /// does the work; the host's signals are not taken by the job's threads.
    func runAndWait() -> Report

    /// Runs the job without blocking the caller's thread, where the system has a thread for that
    /// and Swift's runtime has those that it needs: below a limit of a few threads
    /// (`ulimit -u`, pids.max) only `runAndWait` is sure to end. Cancelling the task cancels the
    /// job.
    func run() async -> Report
}

extension Job {
    /// Runs the job on a thread of its own, while the caller's task sleeps.
    public func run() async -> Report {
        await withTaskCancellationHandler {
            await WorkerThread.result { self.runAndWait() }
        } onCancel: {
            cancel()
        }
    }

    /// The progress of the job from now to its end: one value at once, then one every `interval`,
    /// and last the one whose phase is `ended`, at most an `interval` after the end. It ends
    /// earlier if the task that waits for it is cancelled, which the job does not notice.
    ///
    /// Each iteration is on its own, and takes a look at `progress` for each value: what a slow
    /// reader does not fetch is never made. A job that nobody runs has no end. It sleeps on Swift's
    /// runtime, so that it needs the threads of that, as `run` does.
    ///
    /// - Parameter interval: at least 1 ms; what is less counts as that.
    public func updates(every interval: Duration = .milliseconds(200)) -> JobUpdates {
        JobUpdates(interval: max(interval, .milliseconds(1))) { self.progress }
    }

    /// Refuses a verb that no job of this kind takes.
    func requireKind(allows verb: JobVerb) throws(JobVerbError) {
        guard kind.allows(verb) else {
            throw JobVerbError(verb: verb, phase: phase, kind: kind)
        }
    }
}

/// What a job does. The raw values may be shown to programs.
public enum JobKind: String, Sendable, CaseIterable, CustomStringConvertible {
    /// It copies one disk to another.
    case mirror
    /// The same, of a disk that is written meanwhile.
    case live
    /// It compares two disks.
    case comparison
    /// It copies into an image what that takes from the images below.
    case stream
    /// It copies what an image has into the one below it.
    case commit

    public var description: String { rawValue }

    /// Whether a verb means something to jobs of this kind, in a phase that allows it.
    ///
    /// A comparison only reads: it waits for nobody and has no limit.
    public func allows(_ verb: JobVerb) -> Bool {
        switch (self, verb) {
        case (_, .cancel): true
        case (.comparison, _): false
        case (.live, _): true
        case (.mirror, .complete), (.stream, .complete), (.commit, .complete): false
        case (.mirror, _): true
        case (.stream, _), (.commit, _): true
        }
    }
}

/// The number of a job, unique within the process as long as that lives.
public struct JobID: Sendable, Hashable, CustomStringConvertible {
    private static let last = Atomic<UInt64>(0)

    /// From 1 on, in the order in which jobs were made.
    public let number: UInt64

    init() { number = Self.last.add(1, ordering: .relaxed).newValue }

    public var description: String { "\(number)" }
}
