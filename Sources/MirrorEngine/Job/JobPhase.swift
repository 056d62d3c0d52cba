/// Where a job is between its making and its end.
///
/// The transitions and the verbs of each phase are tables, after those of QEMU's jobs
/// (docs/interop/qmp: `JobStatus`, `JobVerb`); `JobPhaseTests` goes through all of both.
public enum JobPhase: UInt8, Sendable, CaseIterable, CustomStringConvertible {
    /// Made; nothing was copied yet.
    case created
    /// It copies.
    case running
    /// It starts nothing new until it is resumed.
    case paused
    /// A live mirror has what its source has; new writes make it run again.
    case ready
    /// Ready, and paused.
    case standby
    /// The writers are held back, and the rest is copied.
    case completing
    /// All that will be copied is, and is brought to stable storage.
    case flushing
    /// What was copied is on stable storage, and is compared with the source.
    case verifying
    /// Nothing is copied or compared any more. What follows from that is done and recorded: a last
    /// look at both sides, what becomes of bitmaps and records, the end of an image job.
    case settling
    /// It is over, well or not.
    case ended

    public var description: String {
        switch self {
        case .created: "created"
        case .running: "running"
        case .paused: "paused"
        case .ready: "ready"
        case .standby: "standby"
        case .completing: "completing"
        case .flushing: "flushing"
        case .verifying: "verifying"
        case .settling: "settling"
        case .ended: "ended"
        }
    }

    /// The phases that may follow on this one.
    package var successors: [JobPhase] {
        switch self {
        case .created: [.running, .paused, .settling, .ended]
        case .running: [.paused, .ready, .completing, .flushing, .settling, .ended]
        case .paused: [.running, .flushing, .settling, .ended]
        case .ready: [.running, .standby, .completing, .flushing, .settling, .ended]
        case .standby: [.ready, .flushing, .settling, .ended]
        // The writers may be let go before all is copied.
        case .completing: [.running, .flushing, .settling, .ended]
        // A flush that succeeded makes a live mirror ready, and writes that came meanwhile work.
        case .flushing: [.running, .ready, .verifying, .settling, .ended]
        case .verifying: [.settling, .ended]
        case .settling: [.ended]
        case .ended: []
        }
    }

    /// Whether a verb means something in this phase. What is so already may be asked for again.
    ///
    /// Only copying can be paused and has a speed: a comparison after it can be stopped, and what
    /// settles the end takes its way.
    public func allows(_ verb: JobVerb) -> Bool {
        switch verb {
        case .cancel: self != .settling && self != .ended
        case .complete: self == .ready || self == .running
        case .setSpeed: isCopying
        case .pause, .resume: isCopying && self != .completing
        }
    }

    /// Whether there is or may be something to copy from now on.
    private var isCopying: Bool {
        switch self {
        case .created, .running, .paused, .ready, .standby, .completing: true
        case .flushing, .verifying, .settling, .ended: false
        }
    }

    /// Whether the job starts nothing new until it is resumed.
    var isPaused: Bool { self == .paused || self == .standby }

    /// The phase that a pause leads to; nil where there is nothing to pause.
    var pausing: JobPhase? {
        switch self {
        case .created, .running, .paused: .paused
        case .ready, .standby: .standby
        case .completing, .flushing, .verifying, .settling, .ended: nil
        }
    }

    /// The phase that resuming leads to; nil where nothing is paused.
    var resuming: JobPhase? {
        switch self {
        case .paused: .running
        case .standby: .ready
        case .created, .running, .ready, .completing, .flushing, .verifying, .settling, .ended:
            nil
        }
    }
}

/// What can be asked of a job from outside.
public enum JobVerb: Sendable, Hashable {
    /// Starts nothing new. What is in flight completes.
    case pause
    /// Goes on, also after a pause that an error policy made: what failed is tried again.
    case resume
    /// Stops: what is in flight completes, the target is flushed, the rest stays undone.
    case cancel
    /// Ends a live mirror with a target that has all that its source has: at once if it is ready,
    /// else as soon as what is left can be copied in a short pause of the writers.
    case complete
    /// Bytes a second from now on; nil for no limit.
    case setSpeed(Int64?)
}

/// A verb that means nothing to a job, or in the phase that it is in.
public struct JobVerbError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was asked for.
    public let verb: JobVerb
    /// Where the job was.
    public let phase: JobPhase
    /// The kind of the job, if that takes the verb in no phase at all; nil: it is the phase.
    public let kind: JobKind?
    /// It was asked for before, and can't be asked for twice.
    public let isRepeated: Bool

    init(verb: JobVerb, phase: JobPhase, kind: JobKind? = nil, isRepeated: Bool = false) {
        self.verb = verb
        self.phase = phase
        self.kind = kind
        self.isRepeated = isRepeated
    }

    public var description: String {
        let verb =
            switch verb {
            case .pause: "paused"
            case .resume: "resumed"
            case .cancel: "cancelled"
            case .complete: "completed"
            case .setSpeed: "given another speed"
            }
        if isRepeated { return "the job was told before that it is to be \(verb)" }
        guard let kind else { return "a job that is \(phase) can't be \(verb)" }
        return "a \(kind) can't be \(verb)"
    }
}
