import ArgumentParser
import RingMirror

/// Runs a mirror for a command: progress, signals, and a report that says what happened.
struct MirrorRun {
    /// The name of the command.
    let command: String
    let mirror: RecordedMirror
    /// What is said at the end.
    let ending: MirrorEnding

    private var source: Disk { ending.sides.source }
    private var target: Disk { ending.sides.target }
    private var output: OutputOptions { ending.output }
    /// Bytes that an interrupted job had done before this one resumed it, and that are not copied
    /// again.
    private var saved: Int64 {
        guard let job = mirror.resumed, mirror.progress.planned < job.planned else { return 0 }
        return job.planned - job.remainingBytes
    }

    /// Runs the job. Throws the exit code unless the target is a mirror at its end and all that was
    /// to be recorded is.
    func run() throws {
        announceStart()
        let words = JobWords(
            activity: command, source: source.path.string, target: target.path.string,
            saved: saved)
        let report = JobRun(job: mirror, words: words, output: output).run()
        try ending.tell(report)
    }

    private func announceStart() {
        if output.json {
            Events.print(
                Events.Start(
                    command: command, source: source.path.string, target: target.path.string,
                    size: source.geometry.size, bitmap: ending.bitmap,
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
