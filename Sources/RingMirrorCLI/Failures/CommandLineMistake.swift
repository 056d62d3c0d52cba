import ArgumentParser

/// A command line that can't be carried out as it is written.
struct CommandLineMistake: Error {
    let message: String
    /// What to read, such as `See 'ringmirror full --help'`.
    let reference: String
    /// The whole help, where nothing was asked for.
    private let help: String?

    init(_ message: String, help: String? = nil) {
        self.message = message
        reference = "See 'ringmirror --help' for its usage"
        self.help = help
    }

    /// What argument-parser says and what to do about it, without the usage line that it adds:
    /// that is longer than the message and hides it.
    init(parsing error: any Error, _ arguments: [String]) {
        message = Self.message(RingMirrorCommand.message(for: error), arguments)
        let lines = RingMirrorCommand.fullMessage(for: error).split(separator: "\n")
        let last = lines.last?.drop { $0 == " " } ?? ""
        reference =
            last.hasPrefix("See '")
            ? String(last.replacing(" for more information.", with: " for its usage"))
            : "See 'ringmirror --help' for its usage"
        help = nil
    }

    func report() {
        let failure = Failure(.commandLine, message, remedy: reference + ".", .usage)
        if ProcessArguments.wantsJSON { Events.print(Events.Failure(failure)) }
        guard let help else { return Message.say(failure.message) }
        for line in help.split(separator: "\n", omittingEmptySubsequences: false) {
            Output.errorLine(String(line))
        }
    }
}

extension CommandLineMistake {
    /// The message of argument-parser, with what helps.
    static func message(_ text: String, _ arguments: [String]) -> String {
        let first = text.prefix(1).lowercased()
        let message = first + text.dropFirst()
        if let option = quoted(message, after: "unknown option ") {
            return "unknown option '\(option)'"
                + (ForeignWords.option(option).map { ": \($0)" }
                    ?? String(message.dropFirst("unknown option '\(option)'".count)))
        }
        if let option = quoted(message, after: "missing value for ") {
            // A value that begins with a dash is taken for another option.
            let name = String(option.prefix { $0 != " " })
            if let value = arguments.value(after: name), value.dropFirst().first?.isNumber == true {
                return "the value '\(value)' is invalid for '\(option)': "
                    + (ValueHints.hint(for: name) ?? "it must not be negative")
            }
        }
        if message.hasPrefix("the value '"),
            let option = message.ranges(of: " for '").last.flatMap({
                quoted(message[$0.lowerBound...], after: " for ")
            }), let hint = ValueHints.hint(for: String(option.prefix { $0 != " " }))
        {
            return message.prefix { $0 != "\n" } + ": " + hint
        }
        return message
    }

    /// The text between quotes that follows `start`.
    private static func quoted(_ text: some StringProtocol, after start: String) -> String? {
        guard text.hasPrefix(start + "'") else { return nil }
        let rest = text.dropFirst(start.count + 1)
        guard let end = rest.lastIndex(of: "'") else { return nil }
        return String(rest[..<(rest.firstIndex(of: "'") ?? end)])
    }

    /// A word where a command was expected, if it is none.
    static func unknownCommand(_ arguments: [String]) -> CommandLineMistake? {
        var type: any ParsableCommand.Type = RingMirrorCommand.self
        var path = "ringmirror"
        for word in arguments.first == "help" ? arguments.dropFirst() : arguments[...] {
            let commands = type.configuration.subcommands
            guard !commands.isEmpty, !word.hasPrefix("-"), word != "help" else { return nil }
            let names = commands.compactMap { $0.configuration.commandName }
            guard let index = names.firstIndex(of: word) else {
                let known = path == "ringmirror" ? ForeignWords.command(word) : nil
                let near = Nearness.nearest(to: word, among: names).map {
                    "Did you mean '\(path) \($0)'?"
                }
                return CommandLineMistake(
                    "there is no command '\(path) \(word)'. "
                        + (known ?? near ?? "There are: \(names.joined(separator: ", "))."))
            }
            type = commands[index]
            path += " " + word
        }
        return nil
    }
}

extension [String] {
    fileprivate func value(after option: String) -> String? {
        guard let index = firstIndex(of: option), index + 1 < count else { return nil }
        return self[index + 1]
    }
}
