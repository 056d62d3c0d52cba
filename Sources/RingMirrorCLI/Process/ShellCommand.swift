import Glibc

/// Commands of the user's, which a shell runs.
enum ShellCommand {
    /// Runs a command and waits for its end.
    ///
    /// - Returns: how it failed, as a phrase; nil: it did not.
    static func run(_ command: String) -> String? {
        let status = unsafe system(command)
        guard status != 0 else { return nil }
        return status & 0x7f == 0
            ? "`\(command)` ended with exit code \(status >> 8 & 0xff)"
            : "`\(command)` was ended by signal \(status & 0x7f)"
    }
}
