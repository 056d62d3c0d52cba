internal import Synchronization

/// Tells a front end that an opening waits, while it does. It may take seconds, and whoever started
/// it should know why nothing happens.
public enum StorageWait {
    private static let observer = Mutex<(@Sendable (String) -> Void)?>(nil)

    /// Sets what hears, in a sentence, that an opening of this process begins to wait.
    ///
    /// It is called on the thread that opens, and not while a lock is held.
    public static func observe(_ body: (@Sendable (String) -> Void)?) {
        observer.withLock { $0 = body }
    }

    static func tell(_ text: String) { observer.withLock { $0 }?(text) }
}
