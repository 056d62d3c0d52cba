import ArgumentParser

struct JobCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "job",
        abstract: "List jobs that run, and steer them.",
        discussion: """
            Every mirror, comparison, stream and commit listens on a socket while it runs, for the \
            user who runs it and for root. These commands ask there; docs/control-socket.md has \
            the protocol for programs.

            A job is named by the number of its process, which may be left out if only one runs. A \
            request that means nothing where the job is now ends with 3.

            Examples:
              ringmirror job list
              ringmirror job speed 200M
              ringmirror job pause 4711
            """,
        subcommands: [
            JobListCommand.self, JobStatusCommand.self, JobPauseCommand.self,
            JobResumeCommand.self, JobSpeedCommand.self, JobCompleteCommand.self,
            JobCancelCommand.self,
        ])
}
