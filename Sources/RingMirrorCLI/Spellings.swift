/// Options with an optional value, which argument-parser does not have: each spelling with a value
/// is an option of its own there.
enum Spellings {
    /// A value that such an option does not have.
    static func mistake(in arguments: [String]) -> CommandLineMistake? {
        for argument in arguments.prefix(while: { $0 != "--" }) {
            for (option, value) in [("--verify", "all"), ("--resume", "auto")]
            where argument.hasPrefix(option + "=") && argument != "\(option)=\(value)" {
                return CommandLineMistake(
                    "'\(argument)': \(option) is given alone or as \(option)=\(value)")
            }
        }
        return nil
    }

    static func translate(_ arguments: [String]) -> [String] {
        // What follows is no option, whatever it looks like.
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        return arguments[..<end].map { argument in
            switch argument {
            case "--verify=all": "--verify-all"
            case "--resume=auto": "--resume-auto"
            default: argument
            }
        } + arguments[end...]
    }
}
