import ArgumentParser
import RingMirror

/// The exit codes: a contract with whoever calls ringmirror from a script. See docs/cli.md.
enum Exit: Int32 {
    case done = 0
    /// The job failed. The target is not a mirror.
    case failed = 1
    /// The command can't be carried out as given: a wrong option, a path that is missing or no
    /// disk.
    case usage = 2
    /// A guard refused. Nothing was written.
    case refused = 3
    /// A comparison found a difference.
    case different = 4
    /// Stopped by a signal.
    case interrupted = 130

    var asError: ExitCode { ExitCode(rawValue) }

    init(_ category: ErrorCategory) {
        self =
            switch category {
            case .usage: .usage
            case .refused: .refused
            case .different: .different
            case .interrupted: .interrupted
            case .failed: .failed
            }
    }
}
