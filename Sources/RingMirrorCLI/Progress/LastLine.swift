import Synchronization

/// The last line of progress, for SIGUSR1.
final class LastLine: Sendable {
    private let text = Mutex<String?>(nil)

    var value: String? {
        get { text.withLock { $0 } }
        set { text.withLock { $0 = newValue } }
    }
}
