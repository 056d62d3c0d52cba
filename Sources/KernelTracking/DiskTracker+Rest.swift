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
        var balance: Int64
        var completed: UInt64
        var isInFlight: Bool
    }

    private func look() -> Look {
        let isInFlight = disk.folder.writesInFlight != 0
        let sum = state.sum()
        return Look(balance: sum.balance, completed: sum.completed, isInFlight: isInFlight)
    }

    /// Looks again and again, until something follows from what was seen.
    ///
    /// - Parameter decide: is told the balance, and how long nothing has moved or been in flight,
    ///   in nanoseconds.
    /// - Returns: nil: the time is over.
    private func watch<Result>(
        for limit: Duration, _ decide: (_ balance: Int64, _ quiet: Int64) -> Result?
    ) -> Result? {
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
            if let result = decide(next.balance, now - since) { return result }
            if now >= end { return nil }
        }
    }

    /// Waits until nothing is in flight on the disk.
    package func waitUntilIdle(limit: Duration) -> IdleResult {
        let result = watch(for: limit) { balance, quiet -> IdleResult? in
            let isLevel = hasBeenAtRest && balance == state.info.floor
            if isLevel, quiet >= Self.quietTime {
                marks.forgetEver()
                return .idle
            }
            return !isLevel && quiet >= Self.lossTime ? forgive(balance) : nil
        }
        return result ?? .busy(inFlightBytes: inFlightBytes)
    }

    /// The books don't balance, and nothing is in flight: what was ever seen written may be so
    /// still, and is marked again.
    private func forgive(_ balance: Int64) -> IdleResult {
        let lost = hasBeenAtRest ? balance - state.info.floor : 0
        marks.putBackEver()
        setFloor(balance)
        // Below the level: what was given up has completed after all, or was counted twice. So the
        // sum stays what the balance has moved by, and a submission that was counted twice shows in
        // `losses`, as more than the kernel has counted.
        state.update { $0.forgiven += lost }
        return .lostCompletion(bytes: lost)
    }

    /// Finds out what the balance is when nothing is in flight; false if something always was.
    func settleFloor(_ patience: Duration) -> Bool {
        watch(for: patience) { balance, quiet in
            guard quiet >= Self.quietTime else { return nil }
            setFloor(balance)
            return true
        } ?? false
    }

    private func setFloor(_ balance: Int64) {
        state.update { info in
            info.floor = balance
            info.is_floor_known = 1
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
