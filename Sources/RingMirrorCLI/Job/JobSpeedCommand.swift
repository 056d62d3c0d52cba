import ArgumentParser
import RingMirror

struct JobSpeedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "Give a job another limit of bytes a second, or none.",
        usage: "ringmirror job speed [<pid>] <rate> [<options>]",
        discussion: """
            RATE is as for --speed of the copying commands, or `unlimited`.

            Examples:
              ringmirror job speed 200M
              ringmirror job speed 4711 unlimited
            """)

    @Argument(
        help: ArgumentHelp(
            "The process that runs the job, if there are several, and then bytes a second, such as "
                + "200M, or `unlimited`.", valueName: "rate"))
    var words: [String]

    @OptionGroup var output: OutputOptions

    func validate() throws { _ = try parsed }

    func run() throws {
        let (pid, limit) = try parsed
        let asking = JobAsking(output: output)
        let status = try asking.ask(pid, ControlRequest(.verb(.setSpeed(limit))))
        asking.tell(status, JobText.limit(status))
    }

    private var parsed: (pid: Int32?, limit: Int64?) {
        get throws {
            guard let last = words.last, words.count <= 2 else {
                throw ValidationError("give a rate, and before it one process at most")
            }
            var pid: Int32?
            if words.count == 2 {
                pid = Int32(words[0])
                guard pid != nil else {
                    throw ValidationError("'\(words[0])' is no number of a process")
                }
            }
            if last == "unlimited" { return (pid, nil) }
            guard let rate = ByteRate(argument: last) else {
                throw ValidationError(
                    "'\(last)' is no rate: give bytes a second, 1 or more, such as 200M, or "
                        + "unlimited")
            }
            return (pid, rate.bytes)
        }
    }
}
