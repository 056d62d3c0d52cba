import ArgumentParser

struct JobListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the jobs that run.",
        usage: "ringmirror job list [<options>]",
        discussion: """
            Root sees the jobs of all users, others their own. Sockets that killed jobs have left \
            are removed. The list of interrupted jobs is `ringmirror bitmap list PATH`.

            Examples:
              ringmirror job list
              ringmirror job list --json
            """)

    @OptionGroup var output: OutputOptions

    func run() throws {
        Signals.enter(.reading("looking for jobs"))
        let jobs = RunningJob.all()
        var rows = [["PID", "COMMAND", "STATE", "DONE", "RATE", "SOURCE", "TARGET"]]
        for job in jobs {
            switch job.status {
            case .success(let status):
                if output.json { Events.print(Events.JobStatus(status)) }
                rows.append([
                    "\(status.pid)", status.command, JobText.state(status),
                    JobText.percent(status), JobText.rate(status.bytesPerSecond),
                    status.source ?? "", status.target ?? "",
                ])
            case .failure(let failure):
                output.warn(
                    .jobUnanswered, "the job of process \(job.pid) can't be asked: \(failure)")
            }
        }
        guard !output.json else { return }
        if jobs.isEmpty {
            if !output.quiet { Output.line("no jobs") }
        } else if rows.count > 1 {
            for line in JobText.table(rows) { Output.line(line) }
        }
    }
}
