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
        let words = JobWords(
            activity: command, source: job.source.path.string, target: job.target.path.string,
            verb: verb)
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
            say("the command is not done: " + whatNow(ended, after: error))
            throw Exit.failed.asError
        }
        switch report.outcome {
        case .mirrored:
            for doubt in ended.claim.evidence where doubt.isDoubt {
                output.warn(.weakClaim, doubt.text)
            }
            guard !output.quiet && !output.json else { return }
            Output.line("\(verb) \(ByteSize.text(report.planned)) \(report.pace)")
            if let reason = report.ringRefusal { Output.line(reason.threadsLine) }
            for evidence in ended.claim.evidence { Output.line("  rests on: \(evidence.text)") }
        case .failed(let error):
            say(error.told)
            sayWhatIsLeft(ended, after: error)
            throw Exit.failed.asError
        case .cancelled:
            say("interrupted")
            sayWhatIsLeft(ended)
            throw Exit.interrupted.asError
        }
    }

    private func say(_ text: String) { Message.say(text) }

    private func sayWhatIsLeft(_ ended: ImageJobReport, after error: MirrorError? = nil) {
        let report = ended.mirror
        say(
            "\(ByteSize.text(report.done)) of \(ByteSize.text(report.planned)) were copied; "
                + whatNow(ended, after: error))
    }

    /// What the kept image has, and what to do. What something else has written into an image stays
    /// there, and running the command again would not tell.
    private func whatNow(_ ended: ImageJobReport, after error: MirrorError?) -> String {
        let again = "run the command again to go on"
        if let path = fileInDoubt(ended, error) {
            return "whether \(path) still reads as it did is not known: compare it with a copy, or "
                + "at least check it with `qemu-img check`; running the command again does the "
                + "rest, and does not look at that"
        }
        if let error, error.code == .writtenMeanwhile, let path = error.path,
            job.kind == .stream
        {
            return "what \(job.target.path) has taken so far is of \(path) as it was before, and "
                + "the rest reads as that is now: take \(path) from a copy; or \(again) with what "
                + "there is"
        }
        let isTouched =
            error.map { [.writtenMeanwhile, .movedMeanwhile, .shrank].contains($0.code) } ?? false
        guard !isTouched || job.kept.path != error?.path else { return again }
        return "\(job.kept.path) has all that it had; \(again)"
    }

    /// The file that the job writes and something else may have written; nil: none.
    private func fileInDoubt(_ ended: ImageJobReport, _ error: MirrorError?) -> FilePath? {
        let files = (job.target.devices + job.source.devices)
            .filter { $0.access == .readWrite }.map(\.path)
        if let error, let path = error.path, files.contains(path),
            [.writtenMeanwhile, .openedMeanwhile].contains(error.code)
        {
            return path
        }
        let isOpened = ended.claim.evidence.contains {
            if case .targetOpened = $0 { true } else { false }
        }
        return isOpened ? job.target.path : nil
    }
}
