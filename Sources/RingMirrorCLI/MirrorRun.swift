import ArgumentParser
import RingMirror

/// Runs a mirror for a command: progress, signals, and a report that says what happened.
struct MirrorRun {
    /// The name of the command.
    let command: String
    let mirror: RecordedMirror
    let sides: MirrorSides
    /// The named bitmap that the mirror works on.
    let bitmap: String?
    let output: OutputOptions

    private var source: StorageDevice { sides.source }
    private var target: StorageDevice { sides.target }

    /// Runs the job. Throws the exit code unless the target is a mirror at its end and all that was
    /// to be recorded is.
    func mirror() async throws {
        announceStart()
        let job = mirror.job
        let signals = Signals(
            stop: { job.cancel() }, resume: { job.resume() },
            show: {
                let progress = job.progress
                Output.errorLine(
                    "ringmirror: \(ByteSize.text(progress.done)) of "
                        + "\(ByteSize.text(progress.planned)) mirrored")
            })
        let report = await output.watching(MirrorWatch(job: job, output: output)) {
            await mirror.run()
        }
        _ = signals
        try end(report)
    }

    private func announceStart() {
        if output.json {
            Events.print(
                Events.Start(
                    command: command, source: source.path.string, target: target.path.string,
                    size: source.geometry.size, bitmap: bitmap,
                    resumedFrom: mirror.resumed?.startedAt,
                    saved: mirror.resumed.map { $0.planned - $0.remainingBytes }))
        }
        guard !output.quiet, let job = mirror.resumed else { return }
        say(
            "going on with the mirror begun at \(Timestamp.text(job.startedAt)): "
                + "\(ByteSize.text(job.planned - job.remainingBytes)) of "
                + "\(ByteSize.text(job.planned)) were done, "
                + "\(ByteSize.text(mirror.job.progress.planned)) are left")
    }

    private func end(_ ended: RecordedMirror.Report) throws {
        let report = ended.mirror
        if output.json {
            Events.print(Events.Report(report, recorded: ended, bitmap: bitmap))
        }
        switch report.outcome {
        case .mirrored:
            if !output.quiet && !output.json { Output.line(success(report)) }
            guard let error = ended.recordError else { return }
            say("\(error)")
            say(
                bitmap.map {
                    "\(target.path) IS a mirror, but bitmap '\($0)' could not be cleared: the next "
                        + "incremental mirror copies the same again"
                } ?? "\(target.path) IS a mirror, but the record of the job could not be removed")
            throw Exit.failed.asError
        case .failed(let error):
            say("\(error)")
            listFailures(report)
            sayNotAMirror(ended)
            throw Exit(error).asError
        case .cancelled:
            say("interrupted")
            sayNotAMirror(ended)
            throw Exit.interrupted.asError
        }
    }

    private func say(_ text: String) { Output.errorLine("ringmirror: \(text)") }

    private func listFailures(_ report: MirrorReport) {
        for failure in report.failures.prefix(10) {
            say(
                "  \(failure.side.rawValue): \(failure.range.count) bytes at offset "
                    + "\(failure.range.lowerBound): \(failure.cause)")
        }
        if report.failures.count > 10 {
            say("  and \(report.failures.count - 10) more; --json lists all")
        }
    }

    /// The one thing that nobody may overlook.
    private func sayNotAMirror(_ ended: RecordedMirror.Report) {
        let report = ended.mirror
        say(
            "\(target.path) is NOT a mirror of \(source.path): "
                + "\(ByteSize.text(report.done)) of \(ByteSize.text(report.planned)) were copied"
                + (report.flushed ? "" : ", and not flushed"))
        if let error = ended.recordError { say("the progress could not be recorded: \(error)") }
        if let store = ended.resumableFrom {
            say(
                "\(ByteSize.text(ended.saved)) are safe and recorded in \(store): run the command "
                    + "again with --resume\(sides.isNew ? " and without --create" : "") to go on "
                    + "with the rest")
        } else {
            say(
                sides.isNew
                    ? "remove \(target.path) and run the command again, or run it with --overwrite "
                        + "and without --create"
                    : "run the command again to make it one")
        }
    }

    private func success(_ report: MirrorReport) -> String {
        var parts = [
            "\(ByteSize.text(report.read)) read", "\(ByteSize.text(report.written)) written",
        ]
        if report.zeroed > 0 { parts.append("\(ByteSize.text(report.zeroed)) zeroed") }
        if report.skipped > 0 { parts.append("\(ByteSize.text(report.skipped)) zero already") }
        if report.retries > 0 { parts.append("\(report.retries) requests retried") }
        let io =
            "\(report.sourceCaching.summary) to \(report.targetCaching.summary), "
            + "\(ByteSize.text(Int64(report.requestSize))) requests"
        let size = source.geometry.size
        let what =
            report.planned == size
            ? ByteSize.text(size)
            : "\(ByteSize.text(report.planned)) of \(ByteSize.text(size))"
        let head =
            "\(target.path) is a mirror of \(source.path): \(what) in "
            + "\(Self.seconds(report.seconds)) s, \(ByteSize.text(report.rate))/s"
        var text = head + "\n  " + parts.joined(separator: ", ") + "\n  " + io
        if let reason = report.plainBuffersReason {
            text += "\n  buffers not registered: \(reason)"
        }
        return text
    }

    static func seconds(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }

    /// Compares what the devices have now: all of them, or what the job was to copy.
    func verify(_ extent: Verification) async throws {
        let job: CompareJob
        if extent == .verify, let bits = mirror.plannedBits() {
            job = CompareJob(source, target, only: bits, isPrefix: true)
        } else {
            job = CompareJob(source, target, isPrefix: true)
        }
        let comparison = CompareRun(
            job: job, first: source, second: target, output: output, event: "verify")
        try await comparison.run()
    }
}

/// Shows a mirror's progress, and says when it waits for somebody.
private struct MirrorWatch: Watched {
    let job: MirrorJob
    let output: OutputOptions
    private var announced = 0

    init(job: MirrorJob, output: OutputOptions) {
        self.job = job
        self.output = output
    }

    var verb: String { "Mirrored" }
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
        Output.errorLine("ringmirror: paused: \(error)")
        Output.errorLine(
            "ringmirror: mend it and send SIGCONT to go on (kill -CONT \(Output.processID)), "
                + "or press Ctrl-C to stop")
    }
}
