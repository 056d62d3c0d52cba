import ArgumentParser

struct JobStatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how far a job is, and what can be asked of it now.",
        usage: "ringmirror job status [<pid>] [<options>]",
        discussion: """
            Examples:
              ringmirror job status
              ringmirror job status 4711 --json
            """)

    @OptionGroup var choice: JobChoice

    func run() throws {
        let status = try choice.ask(ControlRequest(.status))
        if choice.output.json { return Events.print(Events.JobStatus(status)) }
        for line in JobText.lines(status) { Output.line(line) }
    }
}
