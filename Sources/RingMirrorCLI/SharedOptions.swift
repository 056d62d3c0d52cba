import ArgumentParser
import Logging
import RingMirror

/// What every command that runs for a while takes.
struct OutputOptions: ParsableArguments {
    @Flag(
        name: .long,
        help: ArgumentHelp(
            "Print one JSON object a line on standard output.",
            discussion: "The fields are a contract, described in docs/json.md."))
    var json = false

    @Flag(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Print errors and warnings only, and what the command was asked for."))
    var quiet = false

    @Flag(
        name: .long, inversion: .prefixedNo,
        help: "Show progress on standard error (default: if that is a terminal).")
    var progress: Bool?

    @Option(
        help: ArgumentHelp(
            "Say more or less: error, warning, info, debug or trace (default: warning).",
            valueName: "level"),
        transform: { text in
            guard let level = Logger.Level(rawValue: text) else {
                throw ValidationError("use error, warning, info, debug or trace")
            }
            return level
        })
    var logLevel: Logger.Level?

    /// Writes to standard error, which is also where errors go.
    var logger: Logger {
        Logger(label: "ringmirror") { _ in MessageLogHandler(logLevel ?? .warning, json: json) }
    }

    var showsProgress: Bool { !quiet && (progress ?? (Output.errorIsTerminal && !json)) }
}

extension Caching {
    /// For people and for JSON: `direct`, or `buffered` with the reason.
    var summary: String {
        switch self {
        case .direct: "direct"
        case .buffered(let reason): "buffered (\(reason))"
        }
    }
}
