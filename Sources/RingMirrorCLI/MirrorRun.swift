import ArgumentParser
import RingMirror

/// Runs a mirror job for a command: progress, signals, and a report that says what happened.
struct MirrorRun {
    let job: MirrorJob
    let source: StorageDevice
    let target: StorageDevice
    let output: OutputOptions
    /// The target was made by this command.
    let created: Bool
    /// What the line of progress begins with.
    var verb = "Mirrored"

    private var size: Int64 { source.geometry.size }

    /// Runs the job. Throws the exit code if the target is not a mirror at its end.
    func mirror() async throws {
        if output.json {
            Events.print(
                Events.Start(
                    command: "full", source: source.path.string, target: target.path.string,
                    size: size))
        }
        let signals = Signals(
            stop: { [job] in job.cancel() }, resume: { [job] in job.resume() },
            show: { [job] in
                let progress = job.progress
                Output.errorLine(
                    "ringmirror: \(ByteSize.text(progress.done)) of "
                        + "\(ByteSize.text(progress.planned)) mirrored")
            })
        let watcher = Task { [self] in await watch() }
        let report = await job.run()
        watcher.cancel()
        await watcher.value
        _ = signals
        try end(report)
    }

    /// Shows progress until the job has ended.
    func watch() async {
        var line = ProgressLine(verb: verb, planned: job.progress.planned)
        var announced = 0
        var ticks = 0
        while !Task.isCancelled {
            try? await Task.sleep(nanoseconds: 200_000_000)
            let progress = job.progress
            line.update(done: progress.done)
            if let error = progress.pausedBy, progress.pauses > announced {
                announce(error)
                announced = progress.pauses
            }
            ticks += 1
            if output.json && ticks % 5 == 0 { Events.print(event(progress, line)) }
            if output.showsProgress && progress.pausedBy == nil {
                Output.overwriteErrorLine(line.text())
            }
        }
        if output.showsProgress { Output.overwriteErrorLine("") }
    }

    private func announce(_ error: MirrorError) {
        if output.showsProgress { Output.overwriteErrorLine("") }
        Output.errorLine("ringmirror: paused: \(error)")
        Output.errorLine(
            "ringmirror: mend it and send SIGCONT to go on (kill -CONT \(Output.processID)), "
                + "or press Ctrl-C to stop")
    }

    private func event(_ progress: MirrorProgress, _ line: ProgressLine) -> Events.Progress {
        Events.Progress(
            event: "progress", planned: progress.planned, done: progress.done,
            read: progress.read, written: progress.written, zeroed: progress.zeroed,
            skipped: progress.skipped, bytesPerSecond: line.bytesPerSecond,
            etaSeconds: line.etaSeconds, paused: progress.isPaused,
            pausedBy: progress.pausedBy.map { "\($0)" })
    }

    /// Says how the job ended. Throws the exit code if it did not end with a mirror.
    func end(_ report: MirrorReport) throws {
        if output.json { Events.print(Events.Report(report)) }
        switch report.outcome {
        case .mirrored:
            if !output.quiet && !output.json { Output.line(success(report)) }
        case .failed(let error):
            say("\(error)")
            for failure in report.failures.prefix(10) {
                say(
                    "  \(failure.side.rawValue): \(failure.range.count) bytes at offset "
                        + "\(failure.range.lowerBound): \(failure.cause)")
            }
            if report.failures.count > 10 {
                say("  and \(report.failures.count - 10) more; --json lists all")
            }
            sayNotAMirror(report)
            throw Exit(error).asError
        case .cancelled:
            say("interrupted")
            sayNotAMirror(report)
            throw Exit.interrupted.asError
        }
    }

    private func say(_ text: String) { Output.errorLine("ringmirror: \(text)") }

    /// The one thing that nobody may overlook.
    private func sayNotAMirror(_ report: MirrorReport) {
        say(
            "\(target.path) is NOT a mirror of \(source.path): "
                + "\(ByteSize.text(report.done)) of \(ByteSize.text(report.planned)) were copied"
                + (report.flushed ? "" : ", and not flushed"))
        say(
            created
                ? "remove \(target.path) and run the command again, or run it with --overwrite and "
                    + "without --create"
                : "run the command again to make it one")
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
        let head =
            "\(target.path) is a mirror of \(source.path): \(ByteSize.text(report.planned)) in "
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

    /// Compares what the devices have now.
    func verify() async throws {
        let comparison = CompareRun(
            job: CompareJob(source, target, isPrefix: true), first: source, second: target,
            output: output, event: "verify")
        try await comparison.run()
    }
}

extension Events.Report {
    init(_ report: MirrorReport) {
        var message: String?
        switch report.outcome {
        case .mirrored: outcome = "mirrored"
        case .cancelled: outcome = "cancelled"
        case .failed(let error):
            outcome = "failed"
            message = "\(error)"
        }
        error = message
        planned = report.planned
        done = report.done
        read = report.read
        written = report.written
        zeroed = report.zeroed
        skipped = report.skipped
        retries = report.retries
        failed = report.failures.map {
            Events.FailedBytes(
                side: $0.side.rawValue, offset: $0.range.lowerBound,
                length: Int64($0.range.count), cause: "\($0.cause)")
        }
        flushed = report.flushed
        seconds = report.seconds
        bytesPerSecond = Int64(report.rate)
        requestSize = report.requestSize
        depth = report.depth
        rings = report.rings
        sourceCache = report.sourceCaching.summary
        targetCache = report.targetCaching.summary
        registeredBuffers = report.plainBuffersReason == nil
        enters = report.statistics.enters
        submissions = report.statistics.submissions
        completions = report.statistics.completions
    }
}
