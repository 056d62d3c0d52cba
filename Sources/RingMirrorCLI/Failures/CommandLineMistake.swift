import ArgumentParser

/// A command line that can't be carried out as it is written.
struct CommandLineMistake: Error {
    private let message: String
    /// What to read, such as `See 'ringmirror full --help'`.
    private let reference: String
    /// The whole help, where nothing was asked for.
    private let help: String?

    init(_ message: String, help: String) {
        self.message = message
        reference = "See 'ringmirror --help'"
        self.help = help
    }

    /// What argument-parser says, without the usage line that it adds: that is longer than the
    /// message and hides it.
    init(parsing error: any Error) {
        message = RingMirrorCommand.message(for: error)
        let lines = RingMirrorCommand.fullMessage(for: error).split(separator: "\n")
        let last = lines.last?.drop { $0 == " " } ?? ""
        reference = String(
            last.hasPrefix("See '")
                ? last.replacing(" for more information.", with: "")
                : "See 'ringmirror --help'")
        help = nil
    }

    func report() {
        if ProcessArguments.wantsJSON {
            Events.print(
                Events.Failure(Failure(.commandLine, message, remedy: reference, .usage)))
        }
        guard let help else {
            Message.say("\(message). \(reference)")
            return
        }
        for line in help.split(separator: "\n", omittingEmptySubsequences: false) {
            Output.errorLine(String(line))
        }
    }
}
