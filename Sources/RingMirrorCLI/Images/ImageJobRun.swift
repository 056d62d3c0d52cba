import ArgumentParser
import RingMirror

/// How a job inside a chain of images copies.
struct ImageJobOptions: ParsableArguments {
    @Flag(help: "Run all safety checks, say what would be copied, and write nothing.")
    var dryRun = false

    @Option(help: SpeedHelp.speed)
    var speed: ByteRate?

    @Option(
        help: ArgumentHelp(
            "What to do when bytes can't be written.",
            discussion: """
                report (or fail): the job fails. stop (or wait): it pauses until SIGCONT. enospc \
                (or wait-if-full): it pauses when the disk is full, and fails for all else.
                """, valueName: "policy"))
    var onTargetError = ImageErrorPolicy.report

    @Option(help: SpeedHelp.requestSize)
    var requestSize: ByteSize?

    @Option(help: SpeedHelp.depth)
    var depth: Int?

    @Option(help: IOMethod.help)
    var io = IOMethod.automatic

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

/// Runs a job inside a chain of images for a command, and says how it ended.
struct ImageJobRun {
    let job: ImageJob
    /// What was done to the bytes, such as `streamed`.
    let verb: String
    let output: OutputOptions

    /// Throws the exit code unless all was done.
    func run() throws {
        let command = job.kind.rawValue
        if output.json {
            Events.print(
                Events.Start(
                    command: command, source: job.source.path.string,
                    target: job.target.path.string, size: job.source.geometry.size))
        }
        output.tellAbout(job.source, job.target)
        let words = JobWords(activity: command, verb: verb)
        try tell(JobRun(job: job, words: words, output: output).run())
    }

    private func tell(_ ended: ImageJobReport) throws {
        let report = ended.mirror
        if output.json {
            Events.print(
                Events.Report(report, claim: ended.claim.kind, evidence: ended.claim.evidence))
        }
        output.noteMarks(report.markedBitmaps, of: job.target)
        if let error = ended.endingError {
            say(error.told)
            say("the command is not done: \(rest(after: error))\(advice(after: error))")
            throw Exit.failed.asError
        }
        switch report.outcome {
        case .mirrored:
            guard !output.quiet && !output.json else { return }
            Output.line("\(verb) \(ByteSize.text(report.planned)) \(report.pace)")
            if let reason = report.ringRefusal { Output.line(reason.threadsLine) }
            for evidence in ended.claim.evidence { Output.line("  rests on: \(evidence.text)") }
        case .failed(let error):
            say(error.told)
            sayWhatIsLeft(report, after: error)
            throw Exit.failed.asError
        case .cancelled:
            say("interrupted")
            sayWhatIsLeft(report)
            throw Exit.interrupted.asError
        }
    }

    private func say(_ text: String) { Message.say(text) }

    private func sayWhatIsLeft(_ report: MirrorReport, after error: MirrorError? = nil) {
        say(
            "\(ByteSize.text(report.done)) of \(ByteSize.text(report.planned)) were copied; "
                + "\(rest(after: error))\(advice(after: error))")
    }

    /// What to do next. What something else wrote into the image stays there, and running the
    /// command again would not tell.
    private func advice(after error: MirrorError?) -> String {
        guard let error, error.code == .writtenMeanwhile, let path = error.path,
            job.target.devices.contains(where: { $0.path == path })
        else { return "run the command again to go on" }
        return "whether \(path) still reads as it did is not known: compare it with a copy, or at "
            + "least check it with `qemu-img check`; running the command again does the rest, and "
            + "does not look at that"
    }

    /// What the kept image has; nothing where something else has changed it, of which nobody knows.
    private func rest(after error: MirrorError?) -> String {
        let isTouched =
            error.map { error in
                [.writtenMeanwhile, .movedMeanwhile, .shrank].contains(error.code)
                    && job.kept.path == error.path
            } ?? false
        return isTouched ? "" : "\(job.kept.path) has all that it had; "
    }
}
