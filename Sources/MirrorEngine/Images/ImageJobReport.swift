public import BlockStorage

/// How a job inside a chain of images ended.
public struct ImageJobReport: Sendable {
    /// What was copied.
    public let mirror: MirrorReport
    /// Why what follows the copying could not be done; nil if it was, or if the copying failed.
    /// Nothing is lost then, and the job can be run again.
    public let endingError: StorageError?

    /// What follows the copying, done after it has succeeded.
    init(
        _ mirror: MirrorReport, _ ending: () throws(StorageError) -> Void
    ) {
        self.mirror = mirror
        guard case .mirrored = mirror.outcome else {
            endingError = nil
            return
        }
        do throws(StorageError) {
            try ending()
            endingError = nil
        } catch {
            endingError = error
        }
    }
}
