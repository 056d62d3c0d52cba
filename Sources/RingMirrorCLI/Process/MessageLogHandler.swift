import Logging

/// What the library logs, as messages like all others.
struct MessageLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    /// Warnings are events as well.
    let json: Bool

    init(_ level: Logger.Level, json: Bool) {
        logLevel = level
        self.json = json
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let details = all.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let text =
            "\(event.message)" + (details.isEmpty ? "" : " (\(details.joined(separator: ", ")))")
        let severity: Message.Severity =
            switch event.level {
            case .error, .critical: .error
            case .warning: .warning
            default: .note
            }
        if json && event.level >= .warning { Events.print(Events.Warning(.log, text, severity)) }
        Message.say(text, severity)
    }
}
