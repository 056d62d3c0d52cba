import ArgumentParser
import RingMirror

/// What becomes of bytes that can't be read, on the command line.
struct SourceErrorPolicy: ExpressibleByArgument {
    static let report = SourceErrorPolicy(policy: .report)

    let policy: ErrorPolicy

    private init(policy: ErrorPolicy) { self.policy = policy }

    init?(argument: String) {
        guard let policy = ErrorPolicy(word: argument), policy != .enospc else { return nil }
        self.policy = policy
    }

    var defaultValueDescription: String { policy.rawValue }
    static var allValueStrings: [String] { ["report", "ignore", "stop"] }
}

/// What becomes of bytes that can't be written, on the command line.
struct TargetErrorPolicy: ExpressibleByArgument {
    static let report = TargetErrorPolicy(policy: .report)

    let policy: ErrorPolicy

    private init(policy: ErrorPolicy) { self.policy = policy }

    init?(argument: String) {
        guard let policy = ErrorPolicy(word: argument) else { return nil }
        self.policy = policy
    }

    var defaultValueDescription: String { policy.rawValue }
    static var allValueStrings: [String] { ["report", "ignore", "stop", "enospc"] }
}

/// What becomes of bytes that can't be written inside a chain of images, where none may be missing.
struct ImageErrorPolicy: ExpressibleByArgument {
    static let report = ImageErrorPolicy(policy: .report)

    let policy: ErrorPolicy

    private init(policy: ErrorPolicy) { self.policy = policy }

    init?(argument: String) {
        guard let policy = ErrorPolicy(word: argument), policy != .ignore else { return nil }
        self.policy = policy
    }

    var defaultValueDescription: String { policy.rawValue }
    static var allValueStrings: [String] { ["report", "stop", "enospc"] }
}

extension ErrorPolicy {
    /// The names of the library, and others that say the same in plain words.
    fileprivate init?(word: String) {
        switch word {
        case "fail": self = .report
        case "skip": self = .ignore
        case "wait": self = .stop
        case "wait-if-full": self = .enospc
        default: self.init(rawValue: word)
        }
    }
}
