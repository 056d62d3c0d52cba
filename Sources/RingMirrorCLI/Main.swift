import ArgumentParser
import Glibc

@main
enum Main {
    static func main() {
        Signals.takeOver()
        Output.reserveStandardStreams()
        Remark.listenForWaits()
        exit(end(with: run(ProcessArguments.list)).rawValue)
    }

    /// What is left to be said at the end. Output that was lost is a failure, whatever the command
    /// has done: whoever reads it would take what is missing for nothing.
    private static func end(with exit: Exit) -> Exit {
        guard let reason = Output.lost else { return exit }
        Message.say("output was lost: \(reason)")
        return exit == .done ? .failed : exit
    }

    private static func run(_ arguments: [String]) -> Exit {
        do {
            if let mistake = CommandLineMistake.unknownCommand(arguments)
                ?? Spellings.mistake(in: arguments)
            {
                throw mistake
            }
            var command = try RingMirrorCommand.parseAsRoot(Spellings.translate(arguments))
            if !type(of: command).configuration.subcommands.isEmpty {
                let help = RingMirrorCommand.helpMessage(for: type(of: command))
                throw CommandLineMistake("a command is missing", help: help)
            }
            try command.run()
            return .done
        } catch let end as ExitCode {
            return Exit(rawValue: end.rawValue) ?? .failed
        } catch {
            guard RingMirrorCommand.exitCode(for: error) != .success else {
                let text = RingMirrorCommand.fullMessage(for: error)
                Output.text(ShortHelp.isAsked(arguments) ? ShortHelp.text(of: text) : text)
                return .done
            }
            let mistake =
                error as? CommandLineMistake ?? CommandLineMistake(parsing: error, arguments)
            mistake.report()
            return .usage
        }
    }
}
