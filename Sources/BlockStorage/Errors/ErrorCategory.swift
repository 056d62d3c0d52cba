/// What an error means to a caller, whatever it is about. A command line makes exit codes of it.
public enum ErrorCategory: Sendable, Hashable {
    /// What was asked for can't be done as it was asked for: a name, a size, an option.
    case usage
    /// A guard held the job back, or what is known speaks against it. Nothing was written.
    case refused
    /// Two sides differ that were to be the same.
    case different
    /// Somebody stopped it.
    case interrupted
    /// The system or a device failed.
    case failed
}
