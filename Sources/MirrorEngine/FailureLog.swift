internal import Synchronization

/// Bytes that could not be copied.
public struct FailedRange: Sendable, Equatable {
    public let side: MirrorSide
    public let range: Range<Int64>
    public let cause: FailureCause
}

/// The failures of one pass, in the order they happened, neighbours joined.
final class FailureLog: Sendable {
    /// A disk with more bad blocks than this is not worth going on with, and the list must end somewhere.
    static var limit: Int { 65_536 }

    private let entries = Mutex<[FailedRange]>([])

    /// Adds a failure; false if there are too many.
    func add(_ failure: FailedRange) -> Bool {
        entries.withLock { entries in
            if let last = entries.last, last.side == failure.side, last.cause == failure.cause,
                last.range.upperBound == failure.range.lowerBound
            {
                entries[entries.count - 1] = FailedRange(
                    side: last.side, range: last.range.lowerBound..<failure.range.upperBound,
                    cause: last.cause)
                return true
            }
            guard entries.count < Self.limit else { return false }
            entries.append(failure)
            return true
        }
    }

    var all: [FailedRange] { entries.withLock { $0 } }

    func removeAll() { entries.withLock { $0.removeAll() } }
}
