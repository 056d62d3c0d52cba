import ArgumentParser
import RingMirror

/// Which job a command is about, and how it answers.
struct JobChoice: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "The process that runs the job (default: the only one).", valueName: "pid"))
    var pid: Int32?

    @OptionGroup var output: OutputOptions

    /// Asks the job for something, and gives how it is then.
    func ask(_ request: ControlRequest) throws(ExitCode) -> JobStatus {
        try JobAsking(output: output).ask(pid, request)
    }

    /// Says what has become of the job.
    func tell(_ status: JobStatus, _ what: String) {
        JobAsking(output: output).tell(status, what)
    }
}

/// Finds a job and asks it, for a command.
struct JobAsking {
    let output: OutputOptions

    private var complaint: Complaint { Complaint(output: output) }

    /// - Parameter pid: nil: the only job that runs.
    func ask(_ pid: Int32?, _ request: ControlRequest) throws(ExitCode) -> JobStatus {
        let job = try choose(pid)
        do throws(RequestFailure) { return try job.ask(request) } catch {
            switch error {
            case .refused(let refusal): throw complaint.end(failure(refusal, of: job))
            case .unanswered(let cause): throw complaint.end(failure(cause, of: job))
            }
        }
    }

    private func choose(_ pid: Int32?) throws(ExitCode) -> RunningJob {
        Signals.enter(.reading("looking for jobs"))
        let jobs = RunningJob.all()
        if let pid {
            if let job = jobs.first(where: { $0.pid == pid }) { return job }
            throw complaint.end(
                .noSuchJob, "no job that you may steer runs in process \(pid)",
                remedy: "`ringmirror job list` lists the jobs.", .usage)
        }
        guard let job = jobs.first else {
            throw complaint.end(.noSuchJob, "no job that you may steer runs", .usage)
        }
        guard jobs.count == 1 else {
            let titles = jobs.map(\.title).joined(separator: ", ")
            throw complaint.end(
                Failure(
                    .severalJobs, "\(jobs.count) jobs run: \(titles)",
                    remedy: "Say which one by the number of its process.", .usage))
        }
        return job
    }

    private func failure(_ refusal: ControlReply.Refusal, of job: RunningJob) -> Failure {
        let code = CommandCode(rawValue: refusal.code) ?? .requestRefused
        let what = "process \(job.pid): \(refusal.error)"
        // What the job says that helps is about requests.
        let remedy =
            [.wrongPhase, .wrongKind].contains(code)
            ? "`ringmirror job status \(job.pid)` says what can be asked for now."
            : refusal.remedy
        return Failure(code, what, remedy: remedy, code == .requestRefused ? .failed : .refused)
    }

    private func failure(_ cause: ControlClient.Failure, of job: RunningJob) -> Failure {
        if case .gone = cause {
            return Failure(.noSuchJob, "the job of process \(job.pid) has ended", .usage)
        }
        return Failure(
            .jobUnanswered, "the job of process \(job.pid) can't be asked: \(cause)", .failed)
    }

    func tell(_ status: JobStatus, _ what: String) {
        if output.json {
            Events.print(Events.JobStatus(status))
        } else if !output.quiet {
            Output.line("process \(status.pid) (\(JobText.what(status))): \(what)")
        }
    }
}

extension Events {
    /// How a job of another process is.
    struct JobStatus: Encodable {
        let event = "jobStatus"
        private let status: RingMirrorCLI.JobStatus

        init(_ status: RingMirrorCLI.JobStatus) { self.status = status }

        private enum CodingKeys: String, CodingKey { case event }

        func encode(to encoder: any Encoder) throws {
            try status.encode(to: encoder)
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(event, forKey: .event)
        }
    }
}
