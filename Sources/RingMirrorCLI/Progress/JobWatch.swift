import RingMirror

/// Shows the progress of a job, and says when it waits for somebody.
struct JobWatch {
    private let current: @Sendable () -> JobProgress
    private let kind: JobKind
    private let words: JobWords
    private let output: OutputOptions
    /// How many of its pauses were announced.
    private var announced = 0

    init(_ job: some Job, _ words: JobWords, _ output: OutputOptions) {
        current = { job.progress }
        kind = job.kind
        self.words = words
        self.output = output
    }

    /// Shows the job's progress some times a second, and once more at the end, so that a short job
    /// shows as well.
    mutating func show(_ last: LastLine, until end: Wakeup) {
        var line = ProgressLine(
            title: words.title, verb: words.verb, planned: current().planned, saved: words.saved)
        var display = ProgressDisplay(isTerminal: Output.errorIsTerminal)
        var ticks = 0
        var hasEnded = false
        var wasComparing = false
        while !hasEnded {
            hasEnded = end.wait(nanoseconds: 200_000_000)
            let progress = current()
            if wasComparing, progress.activity != .comparing {
                // What is copied of a job that compared first is another piece of work.
                line = ProgressLine(
                    title: words.title, verb: words.verb, planned: progress.planned,
                    saved: words.saved)
            }
            wasComparing = progress.activity == .comparing
            line.verb = wasComparing ? "compared" : words.verb
            line.update(done: progress.done, planned: progress.planned)
            ticks += 1
            announcePause(progress, &display)
            if output.json && kind != .comparison && ticks % 5 == 0 {
                Events.print(Events.Progress(progress, line))
            }
            let state = Self.state(of: progress, kind)
            last.value = line.text(state)
            if output.showsProgress { display.show(line, hasEnded ? nil : state) }
        }
        display.clear()
    }

    /// What a job does instead of moving bytes, such as `flushing`; nil if it moves them.
    static func state(of progress: JobProgress, _ kind: JobKind) -> String? {
        if let error = progress.pausedBy {
            return error.isOutOfSpace ? "waiting for space" : "paused by an error"
        }
        if progress.isPaused { return "paused" }
        // A comparison does nothing else.
        guard kind != .comparison, progress.activity != .copying, progress.activity != .comparing
        else { return nil }
        return progress.activity.rawValue
    }

    private mutating func announcePause(
        _ progress: JobProgress, _ display: inout ProgressDisplay
    ) {
        guard let error = progress.pausedBy, progress.pauses > announced else { return }
        display.clear()
        announce(error)
        announced = progress.pauses
    }

    private func announce(_ error: MirrorError) {
        // How to avoid a failure is no help to somebody whose job waits.
        output.warn(.paused, "paused: \(error.problem)")
        Message.say(
            "fix this, then run `kill -CONT \(Output.processID)` to continue, or press Ctrl-C to "
                + "stop", .warning)
    }
}

extension MirrorError {
    fileprivate var isOutOfSpace: Bool {
        guard case .transfer(_, _, _, _, _, .errno(let code)) = self else { return false }
        return [.noSpace, .diskQuotaExceeded].contains(Errno(rawValue: code))
    }
}
