import Glibc
import RingMirror

/// Messages for people, all in one form: `ringmirror: …`, `ringmirror: warning: …`,
/// `ringmirror: note: …`, each a line of standard error.
enum Message {
    /// How much a message matters, as syslog counts.
    enum Severity: Int {
        case error = 3
        case warning = 4
        case note = 5
        case progress = 6

        fileprivate var title: String {
            switch self {
            case .error, .progress: ""
            case .warning: "warning: "
            case .note: "note: "
            }
        }
    }

    /// - Parameter onlyIfWritable: drop the message if the stream can't take it at once: whoever
    ///   says it must not wait.
    static func say(
        _ text: String, _ severity: Severity = .error, onlyIfWritable: Bool = false
    ) {
        if onlyIfWritable && !Output.waitUntilWritable(STDERR_FILENO, milliseconds: 0) { return }
        Output.errorLine(format(text, severity, toJournal: isJournal))
    }

    static func format(_ text: String, _ severity: Severity, toJournal: Bool) -> String {
        (toJournal ? "<\(severity.rawValue)>" : "") + "ringmirror: " + severity.title + text
    }

    /// A signal ended what left nothing behind.
    static func interrupted(_ title: String) {
        let text = "interrupted while \(title)"
        if ProcessArguments.wantsJSON, Output.waitUntilWritable(STDOUT_FILENO, milliseconds: 0) {
            Events.print(
                Events.Failure(Failure(.interrupted, text, .interrupted)))
        }
        say(text, onlyIfWritable: true)
    }

    /// Standard error is systemd's journal, which takes a severity before each line.
    private static let isJournal: Bool = {
        guard let text = unsafe getenv("JOURNAL_STREAM").map({ unsafe String(cString: $0) })
        else { return false }
        var status = stat()
        guard unsafe fstat(STDERR_FILENO, &status) == 0 else { return false }
        return text == "\(status.st_dev):\(status.st_ino)"
    }()
}
