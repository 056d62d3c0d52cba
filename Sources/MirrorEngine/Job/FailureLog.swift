internal import Synchronization

/// Bytes that could not be copied.
public struct FailedRange: Sendable, Equatable {
    public let side: MirrorSide
    public let range: Range<Int64>
    public let cause: FailureCause
}

/// The failures of one pass, neighbours joined.
final class FailureLog: Sendable {
    /// A disk with more bad stretches than this is not worth going on with, and the list must end
    /// somewhere.
    static var limit: Int { 65_536 }

    /// Failures come in order within a run, and the runs of several slots mixed: a failure's
    /// neighbour is among the last few.
    private static var lookBack: Int { 64 }

    private let entries = Mutex<[FailedRange]>([])

    /// Adds a failure; false if there are too many.
    func add(_ failure: FailedRange) -> Bool {
        entries.withLock { entries in
            for index in entries.indices.suffix(Self.lookBack).reversed() {
                guard let joined = Self.join(entries[index], failure) else { continue }
                entries[index] = joined
                return true
            }
            guard entries.count < Self.limit else { return false }
            entries.append(failure)
            return true
        }
    }

    /// What failed, in the order of the disk, the source first.
    var all: [FailedRange] {
        let sorted = entries.withLock { $0 }.sorted { first, second in
            if first.side != second.side { return first.side == .source }
            return first.range.lowerBound < second.range.lowerBound
        }
        return sorted.reduce(into: []) { result, failure in
            if let last = result.last, let joined = Self.join(last, failure) {
                result[result.count - 1] = joined
            } else {
                result.append(failure)
            }
        }
    }

    func removeAll() { entries.withLock { $0.removeAll() } }

    /// Both as one, if the second begins where the first ends and nothing else differs.
    private static func join(_ first: FailedRange, _ second: FailedRange) -> FailedRange? {
        guard first.side == second.side, first.cause == second.cause,
            first.range.upperBound == second.range.lowerBound
        else { return nil }
        return FailedRange(
            side: first.side, range: first.range.lowerBound..<second.range.upperBound,
            cause: first.cause)
    }
}
