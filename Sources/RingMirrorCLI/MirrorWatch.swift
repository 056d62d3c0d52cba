import RingMirror

/// Shows a mirror's progress, and says when it waits for somebody.
struct MirrorWatch: Watched {
    let job: MirrorJob
    let output: OutputOptions
    let verb: String
    private var announced = 0

    init(_ job: MirrorJob, _ output: OutputOptions, verb: String = "Mirrored") {
        self.job = job
        self.output = output
        self.verb = verb
    }

    var progress: (planned: Int64, done: Int64) { (job.progress.planned, job.progress.done) }

    mutating func tick(_ line: ProgressLine, _ count: Int) -> Bool {
        let progress = job.progress
        if let error = progress.pausedBy, progress.pauses > announced {
            announce(error)
            announced = progress.pauses
        }
        if output.json && count % 5 == 0 { Events.print(Events.Progress(progress, line)) }
        return progress.pausedBy == nil
    }

    private func announce(_ error: MirrorError) {
        if output.showsProgress { Output.overwriteErrorLine("") }
        output.warn(.paused, "paused: \(error)")
        Message.say(
            "fix this, then run `kill -CONT \(Output.processID)` to continue, or press Ctrl-C to "
                + "stop", .warning)
    }
}
