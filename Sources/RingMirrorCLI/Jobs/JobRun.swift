import RingMirror

/// Runs a job for a command, whatever it does: signals stop it or let it go on, and meanwhile its
/// progress is shown.
///
/// What the job made is left to the caller: each kind of job is told in its own words.
struct JobRun<Work: Job> {
    let job: Work
    let words: JobWords
    let output: OutputOptions

    /// The job with all that is told while it runs.
    func run() -> Work.Report {
        let last = LastLine()
        return Signals.during(Activity(job, words, last)) {
            watched(last) { controlled { job.runAndWait() } }
        }
    }

    /// Runs `body`, and lets other processes ask after the job meanwhile and steer it. Where there
    /// is no place for a socket, or no thread, nobody can.
    private func controlled<Result>(_ body: () -> Result) -> Result {
        let server = ControlServer(SteeredJob(job, words), output.logger)
        defer { server?.end() }
        return body()
    }

    /// Runs `body`, and shows meanwhile how far the job is. Where the system has no thread to give
    /// for that, nothing is shown, and the job itself says when it waits.
    private func watched<Result>(_ last: LastLine, _ body: () -> Result) -> Result {
        let end = Wakeup()
        let watcher = PlainThread {
            var watch = JobWatch(job, words, output)
            watch.show(last, until: end)
        }
        if watcher == nil {
            Message.say(
                "no thread can be made to show progress; if an error pauses the job, "
                    + "`kill -CONT \(Output.processID)` continues it", .note)
        }
        let result = body()
        end.wake()
        watcher?.join()
        return result
    }
}

/// How a job is called while it runs.
struct JobWords: Sendable {
    /// What the program is doing, such as `full`.
    let activity: String
    /// The command that runs the job, where that is called otherwise.
    var command: String?
    var source: String?
    var target: String?
    /// What stands before the progress, such as the case of a benchmark; may be empty.
    var title = ""
    /// What is done to the bytes.
    var verb = "copied"
    /// Bytes that an interrupted job had done before this one resumed it.
    var saved: Int64 = 0

    /// The answer to SIGUSR1.
    ///
    /// - Parameter line: the last line of progress; nil if there is none yet.
    func status(_ job: some Job, _ line: String?) -> String {
        // The lines of a benchmark come and go with its cases.
        guard title.isEmpty else { return "\(title) \(Self.text(job.progress))" }
        if let line { return line }
        return job.kind == .comparison ? activity : Self.text(job.progress)
    }

    /// How far a job is, in a line of its own.
    private static func text(_ progress: JobProgress) -> String {
        "\(ByteSize.text(progress.done)) of \(ByteSize.text(progress.planned)) copied"
    }
}

extension Activity {
    /// A job that runs.
    fileprivate init(_ job: some Job, _ words: JobWords, _ last: LastLine) {
        self.init(
            title: words.activity, stop: { job.cancel() },
            // A job that can't be resumed now has nothing to be resumed from.
            resume: { _ = try? job.apply(.resume) },
            show: { words.status(job, last.value) })
    }
}
