public import BlockStorage
public import SystemPackage

/// Why a disk that is in use can't be mirrored, or was not.
public enum LiveError: DescribedError, Sendable {
    /// The writers were let go before the rest was copied and proven, so many times.
    case notHeld(attempts: Int)

    public var category: ErrorCategory {
        switch self {
        case .notHeld: .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .notHeld: .writersNotHeld
        }
    }

    public var path: FilePath? { nil }
    public var offset: Int64? { nil }

    public var problem: String {
        switch self {
        case .notHeld(let attempts):
            "those who write the source were let go \(attempts) times before all was copied"
        }
    }

    public var remedy: Remedy {
        switch self {
        case .notHeld: "Allow a longer pause, or try again when less is written."
        }
    }
}
