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
    /// The option that --resume does not go with, if the command had it.
    var leaveOut: String?
    /// The same command line resumes the job.
    var resumesItself = false
    let output: OutputOptions

    private var source: Disk { sides.source }
    private var target: Disk { sides.target }
    /// Bytes that an interrupted job had done before this one resumed it.
    private var saved: Int64 { mirror.resumed.map { $0.planned - $0.remainingBytes } ?? 0 }

    /// Runs the job. Throws the exit code unless the target is a mirror at its end and all that was
    /// to be recorded is.
    func run() throws {
        announceStart()
        let words = JobWords(activity: command, saved: saved)
        let report = JobRun(job: mirror, words: words, output: output).run()
        try MirrorEnding(
            sides: sides, bitmap: bitmap, leaveOut: leaveOut, resumesItself: resumesItself,
            output: output
        ).tell(report)
    }

    private func announceStart() {
        if output.json {
            Events.print(
                Events.Start(
                    command: command, source: source.path.string, target: target.path.string,
                    size: source.geometry.size, bitmap: bitmap,
                    resumedFrom: mirror.resumed?.startedAt,
                    saved: mirror.resumed == nil ? nil : saved))
        }
        output.tellAbout(source, target)
        for warning in mirror.warnings { output.warn(.mirror, warning) }
        guard let job = mirror.resumed else { return }
        output.note(
            .resumed,
            "resuming the mirror begun at \(Timestamp.text(job.startedAt)): "
                + "\(ByteSize.text(saved)) of "
                + "\(ByteSize.text(job.planned)) were done, "
                + "\(ByteSize.text(mirror.progress.planned)) are left")
    }
}
