import ArgumentParser
import RingMirror

struct JobPauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Let a job start nothing new until it is resumed.",
        usage: "ringmirror job pause [<pid>] [<options>]",
        discussion: """
            What is in flight completes. Disks stay claimed, and locks held.

            Examples:
              ringmirror job pause
              ringmirror job pause 4711
            """)

    @OptionGroup var choice: JobChoice

    func run() throws {
        let status = try choice.ask(ControlRequest(.verb(.pause)))
        choice.tell(status, status.phase)
    }
}

struct JobResumeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let a paused job go on, also one that an error has paused.",
        usage: "ringmirror job resume [<pid>] [<options>]",
        discussion: """
            What had failed is tried again. An interrupted job, which does not run any more, is \
            resumed by its own command with --resume.

            Examples:
              ringmirror job resume
              ringmirror job resume 4711
            """)

    @OptionGroup var choice: JobChoice

    func run() throws {
        let status = try choice.ask(ControlRequest(.verb(.resume)))
        choice.tell(status, status.phase)
    }
}

struct JobCompleteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "complete",
        abstract: "End a live mirror with a target that has all that its source has.",
        usage: "ringmirror job complete [<pid>] [<options>]",
        discussion: """
            It ends as soon as the rest can be copied in a short pause of the writers. All other \
            jobs end by themselves.

            Examples:
              ringmirror job complete
              ringmirror job complete 4711
            """)

    @OptionGroup var choice: JobChoice

    func run() throws {
        let status = try choice.ask(ControlRequest(.verb(.complete)))
        choice.tell(status, "told to complete")
    }
}

struct JobCancelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Stop a job as Ctrl-C does: cleanly, with its progress recorded.",
        usage: "ringmirror job cancel [<pid>] [<options>]",
        discussion: """
            What is in flight is finished and flushed. The target is not a mirror then; the \
            command that made the job goes on with --resume.

            Examples:
              ringmirror job cancel
              ringmirror job cancel 4711
            """)

    @OptionGroup var choice: JobChoice

    func run() throws {
        let status = try choice.ask(ControlRequest(.verb(.cancel)))
        choice.tell(status, "told to stop")
    }
}
