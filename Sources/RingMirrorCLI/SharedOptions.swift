import ArgumentParser
import Logging
import RingMirror

/// What every command that runs for a while takes.
struct OutputOptions: ParsableArguments {
    @Flag(
        name: .long,
        help: ArgumentHelp(
            "Print one JSON object a line on standard output.",
            discussion: "The fields are documented in docs/json.md and stay."))
    var json = false

    @Flag(name: .shortAndLong, help: "Print errors only.")
    var quiet = false

    @Flag(
        name: .long, inversion: .prefixedNo,
        help: "Show progress on standard error (default: if it is a terminal).")
    var progress: Bool?

    @Option(
        help: "Say more on standard error: error, warning, info, debug or trace.",
        transform: { text in
            guard let level = Logger.Level(rawValue: text) else {
                throw ValidationError("use error, warning, info, debug or trace")
            }
            return level
        })
    var logLevel = Logger.Level.warning

    /// Writes to standard error, which is also where errors go.
    var logger: Logger {
        var logger = Logger(label: "ringmirror") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = quiet ? .error : logLevel
        return logger
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
