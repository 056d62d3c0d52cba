import FoundationEssentials
import RingMirror

/// What a job tells of itself through its control socket, and `ringmirror job --json` of it.
///
/// The fields are a contract, docs/control-socket.md. Those that the `progress` event has mean the
/// same here, but for `phase`: that of the event is `activity`.
struct JobStatus: Codable {
    /// Of the process that runs the job.
    var pid: Int32
    /// The number of the job in its process.
    var job: UInt64
    var kind: String
    /// The command that runs it, such as `full`.
    var command: String
    var source: String?
    var target: String?
    /// Seconds since 1970.
    var startedAt: Int64
    /// Where the job is, a `JobPhase`.
    var phase: String
    /// What is done to the bytes: `copying`, `flushing` or `verifying`.
    var activity: String
    /// The requests that mean something to the job now.
    var verbs: [String]
    var planned: Int64
    var done: Int64
    var read: Int64
    var written: Int64
    var zeroed: Int64
    var skipped: Int64
    /// Bytes that an interrupted job had done before this one resumed it.
    var saved: Int64?
    var bytesPerSecond: Int64
    var etaSeconds: Double?
    var paused: Bool
    var pausedBy: String?
    /// Bytes a second at most; nil for no limit.
    var speedLimit: Int64?
    var live: Live?

    /// What only a live mirror has.
    struct Live: Codable {
        /// Sweeps over what was dirty, the first one included.
        var passes: Int?
        /// Bytes that were dirty when the last pass began.
        var dirtyBytes: Int64?
        /// Bytes a second that become dirty, and that are copied.
        var dirtyBytesPerSecond: Int64?
        var copyBytesPerSecond: Int64?
        /// How long the writers would have to wait for the end.
        var predictedPauseSeconds: Double?
        /// Until the pause would be short enough; nil: never at these rates, or not known.
        var secondsToReady: Double?
        /// Whether the writers are held back.
        var held: Bool?
    }
}

extension JobStatus {
    /// - Parameter line: the progress, for the rate and the time left.
    init(
        _ job: some Job, _ progress: JobProgress, _ line: ProgressLine, _ words: JobWords,
        _ startedAt: Int64
    ) {
        self.init(
            pid: Output.processID, job: job.id.number, kind: job.kind.rawValue,
            command: words.command ?? words.activity, source: words.source,
            target: words.target, startedAt: startedAt, phase: "\(progress.phase)",
            activity: progress.activity.rawValue,
            verbs: JobVerb.named.filter {
                job.kind.allows($0.verb) && progress.phase.allows($0.verb)
            }.map(\.name),
            planned: progress.planned, done: progress.done, read: progress.read,
            written: progress.written, zeroed: progress.zeroed, skipped: progress.skipped,
            saved: line.saved > 0 ? line.saved : nil, bytesPerSecond: line.bytesPerSecond,
            etaSeconds: line.etaSeconds, paused: progress.isPaused,
            pausedBy: progress.pausedBy.map { VisibleText.line($0.told) },
            speedLimit: job.speedLimit, live: progress.live.map { Live($0) })
    }
}

extension JobStatus.Live {
    fileprivate init(_ live: LiveProgress) {
        func bytes(_ rate: Double?) -> Int64? { rate.map { Int64(min(max($0, 0), 1e18)) } }
        func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }
        self.init(
            passes: live.passes, dirtyBytes: live.dirty,
            dirtyBytesPerSecond: bytes(live.dirtyRate), copyBytesPerSecond: bytes(live.copyRate),
            predictedPauseSeconds: seconds(live.predictedPause),
            secondsToReady: live.timeToReady.map(seconds), held: live.isHeld)
    }
}

extension JobVerb {
    /// All of them by the names that requests have for them.
    static let named: [(name: String, verb: JobVerb)] = [
        ("pause", .pause), ("resume", .resume), ("speed", .setSpeed(nil)),
        ("complete", .complete), ("cancel", .cancel),
    ]
}
