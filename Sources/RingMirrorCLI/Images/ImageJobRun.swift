import ArgumentParser
import RingMirror

/// How a job inside a chain of images copies.
struct ImageJobOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "At most this many bytes a second, such as 200M: M is 2^20.", valueName: "rate"))
    var speed: ByteRate?

    @Option(
        help: ArgumentHelp(
            "Bytes in one request, a power of two from 4K to 16M (default: by the devices).",
            valueName: "size"))
    var requestSize: ByteSize?

    @Option(help: "Requests in flight on each ring, 1 to 1024 (default: by the devices).")
    var depth: Int?

    @Option(help: IOMethod.help)
    var io = IOMethod.automatic

    @Option(
        help: ArgumentHelp(
            "When bytes can't be written: report, stop or enospc (pause when full).",
            valueName: "policy"))
    var onTargetError = TargetErrorPolicy.report

    @Flag(help: "Say what would be copied, and write nothing.")
    var dryRun = false

    func validate() throws {
        if onTargetError.policy == .ignore {
            throw ValidationError("--on-target-error ignore can't be: nothing may be missing")
        }
    }

    var mirrorOptions: MirrorOptions {
        var options = MirrorOptions()
        options.speedLimit = speed?.bytes
        options.requestSize = requestSize.map { Int($0.bytes) }
        options.depth = depth
        options.io = io
        options.targetErrorPolicy = onTargetError.policy
        return options
    }
}

/// Runs a job inside a chain of images for a command: progress, signals, and how it ended.
struct ImageJobRun {
    let command, verb: String
    let source, target: Disk
    let job: MirrorJob
    let output: OutputOptions

    /// Throws the exit code unless all was done.
    func run(_ body: () -> ImageJobReport) throws {
        if output.json {
            Events.print(
                Events.Start(
                    command: command, source: source.path.string, target: target.path.string,
                    size: source.geometry.size))
        }
        for note in source.notes + target.notes { output.warn(.device, note) }
        let last = LastLine()
        let report = Signals.during(Activity(job, title: command, last)) {
            output.watching(MirrorWatch(job, output, verb: verb), last, body)
        }
        try tell(report)
    }

    private func tell(_ ended: ImageJobReport) throws {
        let report = ended.mirror
        if output.json {
            Events.print(
                Events.Report(
                    report,
                    recorded: RecordedMirror.Report(
                        unrecorded: report, marked: ended.markedBitmaps),
                    bitmap: nil))
        }
        output.noteMarks(ended.markedBitmaps, of: target)
        if let error = ended.endingError {
            say("\(error)")
            say("the command is not done, and nothing is lost: run it again")
            throw Exit.failed.asError
        }
        switch report.outcome {
        case .mirrored:
            guard !output.quiet && !output.json else { return }
            Output.line(
                "\(verb) \(ByteSize.text(report.planned)) in "
                    + "\(Seconds.text(report.seconds)) s, \(ByteSize.text(report.rate))/s")
        case .failed(let error):
            say("\(error)")
            sayWhatIsLeft(report)
            throw Exit.failed.asError
        case .cancelled:
            say("interrupted")
            sayWhatIsLeft(report)
            throw Exit.interrupted.asError
        }
    }

    private func say(_ text: String) { Message.say(text) }

    private func sayWhatIsLeft(_ report: MirrorReport) {
        say(
            "\(ByteSize.text(report.done)) of \(ByteSize.text(report.planned)) were copied; "
                + "nothing is lost: run the command again to go on")
    }
}
