internal import CBPF

/// What was found out about writes in flight.
package enum IdleResult: Sendable {
    /// Nothing is in flight, and nothing is missing of what was.
    case idle
    /// The kernel did not tell of some completions. All that was taken since the last proven rest
    /// is marked again: after it was taken and copied, this can be asked again.
    case lostCompletion(bytes: Int64)
    /// There were writes in flight all the time.
    case busy(inFlightBytes: Int64)
}

extension DiskTracker {
    /// How long nothing has to move before the disk counts as being at rest.
    private static var quietTime: Int64 { 30_000_000 }
    /// How long the books may stay out of balance while the kernel has nothing in flight.
    private static var lossTime: Int64 { 250_000_000 }

    /// What is looked at to see whether anything moves.
    private struct Look: Equatable {
        var queued, completed: UInt64
        var isInFlight: Bool
    }

    private func look() -> Look {
        let isInFlight = disk.folder.writesInFlight != 0
        let sum = state.sum()
        return Look(queued: sum.queued, completed: sum.completed, isInFlight: isInFlight)
    }

    /// Waits until nothing is in flight on the disk.
    package func waitUntilIdle(limit: Duration) -> IdleResult {
        let start = TrackerCalls.monotonicTime
        let end = start + limit.nanoseconds
        var last = look()
        var since = start
        while true {
            TrackerCalls.sleep(milliseconds: 3)
            let now = TrackerCalls.monotonicTime
            let next = look()
            if next != last || next.isInFlight { since = now }
            last = next
            let info = state.info
            let balance = Int64(bitPattern: next.queued &- next.completed)
            let isLevel = info.is_floor_known != 0 && balance == info.floor
            if isLevel, now - since >= Self.quietTime {
                marks.forgetEver()
                return .idle
            }
            if !isLevel, now - since >= Self.lossTime { return forgive(balance) }
            if now >= end { return .busy(inFlightBytes: inFlightBytes) }
        }
    }

    /// The books don't balance, and nothing is in flight: what was ever seen written may be so
    /// still, and is marked again.
    private func forgive(_ balance: Int64) -> IdleResult {
        let info = state.info
        let lost = info.is_floor_known != 0 ? balance - info.floor : 0
        marks.putBackEver()
        state.update { info in
            info.floor = balance
            info.is_floor_known = 1
            if lost > 0 { info.forgiven += UInt64(lost) }
        }
        return .lostCompletion(bytes: lost)
    }

    /// Finds out what the balance is when nothing is in flight; false if something always was.
    func settleFloor(_ patience: Duration) -> Bool {
        let start = TrackerCalls.monotonicTime
        var last = look()
        var since = start
        while true {
            TrackerCalls.sleep(milliseconds: 3)
            let now = TrackerCalls.monotonicTime
            let next = look()
            if next != last || next.isInFlight { since = now }
            last = next
            if now - since >= Self.quietTime {
                state.update { info in
                    info.floor = Int64(bitPattern: last.queued &- last.completed)
                    info.is_floor_known = 1
                }
                return true
            }
            if now - start >= patience.nanoseconds { return false }
        }
    }
}

extension Duration {
    var nanoseconds: Int64 {
        let parts = components
        guard parts.seconds < 9_000_000_000 else { return .max / 2 }
        return parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000
    }
}
