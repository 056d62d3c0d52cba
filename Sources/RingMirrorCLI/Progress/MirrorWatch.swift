import RingMirror

/// Shows a mirror's progress, and says when it waits for somebody.
struct MirrorWatch: Watched {
    private let current: @Sendable () -> MirrorProgress
    let output: OutputOptions
    let title, verb: String
    /// Bytes that an interrupted job had done before this one resumed it.
    let saved: Int64
    private var announced = 0

    init(
        _ job: MirrorJob, _ output: OutputOptions, title: String = "", verb: String = "copied",
        saved: Int64 = 0
    ) {
        current = { job.progress }
        self.output = output
        self.title = title
        self.verb = verb
        self.saved = saved
    }

    init(_ mirror: RecordedMirror, _ output: OutputOptions, saved: Int64) {
        current = { mirror.progress }
        self.output = output
        title = ""
        verb = "copied"
        self.saved = saved
    }

    var line: ProgressLine {
        ProgressLine(title: title, verb: verb, planned: current().planned, saved: saved)
    }

    var progress: (planned: Int64, done: Int64) {
        let progress = current()
        return (progress.planned, progress.done)
    }

    var state: String? { Self.state(of: current()) }

    static func state(of progress: MirrorProgress) -> String? {
        if let error = progress.pausedBy {
            return error.isOutOfSpace ? "waiting for space" : "paused by an error"
        }
        if progress.isPaused { return "paused" }
        return progress.phase == .copying ? nil : progress.phase.rawValue
    }

    mutating func tick(_ line: ProgressLine, _ count: Int, _ display: inout ProgressDisplay) {
        let progress = current()
        if let error = progress.pausedBy, progress.pauses > announced {
            display.clear()
            announce(error)
            announced = progress.pauses
        }
        if output.json && count % 5 == 0 { Events.print(Events.Progress(progress, line)) }
    }

    private func announce(_ error: MirrorError) {
        output.warn(.paused, "paused: \(error.withoutAdvice)")
        Message.say(
            "fix this, then run `kill -CONT \(Output.processID)` to continue, or press Ctrl-C to "
                + "stop", .warning)
    }
}

extension MirrorError {
    /// What happened. How to avoid a failure is no help to somebody whose job waits.
    fileprivate var withoutAdvice: String {
        guard case .transfer(_, let name, let verb, let offset, let count, let cause) = self else {
            return "\(self)"
        }
        return "\(name): \(verb) \(count) bytes at offset \(offset) failed: \(cause)"
    }

    fileprivate var isOutOfSpace: Bool {
        guard case .transfer(_, _, _, _, _, .errno(let code)) = self else { return false }
        return [.noSpace, .diskQuotaExceeded].contains(Errno(rawValue: code))
    }
}
