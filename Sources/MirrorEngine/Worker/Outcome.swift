package import Ring

/// What a transfer queue has to tell.
package enum Outcome: Sendable {
    /// Every byte of a transfer arrived, or was skipped by whoever owns it.
    case finished(Transfer)
    /// The `count` bytes at the transfer's position can't be transferred. The transfer waits: its
    /// owner says `retry`, `skip`, `change` or `abandon`.
    case failed(TransferIndex, Transfer, FailureCause, count: Int64)
    /// A control request has done what it is for. A hint ends so in any case.
    case done(ControlRequest)
    /// A control request has failed, and is over.
    case undone(ControlRequest, FailureCause)
    /// The bytes in a buffer have been decompressed, or could not be.
    case decompressed(CompressedIndex, isGood: Bool)
}

extension QueueClient {
    static let transfer = QueueClient(rawValue: 0)
    static let control = QueueClient(rawValue: 1)
    /// What an `DecompressionDriver` does; the number is the buffer's.
    package static let decompression = QueueClient(rawValue: 2)
}
