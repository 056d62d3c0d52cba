internal import Synchronization

/// A token bucket that all workers of a job draw from. The limit may change at any time, from any
/// thread.
final class SpeedLimit: Sendable {
    private struct State {
        var bytesPerSecond: Int64?
        /// Bytes that may be moved now; negative when the last request was larger than what was
        /// left.
        var tokens: Double = 0
        var filledAt: Int64 = 0
        /// It does not count for now.
        var isLifted = false
    }

    /// The bucket holds this share of a second, so that a limit is kept from the start.
    private static var burst: Double { 0.1 }

    private let state: Mutex<State>

    /// - Parameter bytesPerSecond: nil for no limit; what is below 1 counts as 1.
    init(bytesPerSecond: Int64?) {
        state = Mutex(State(bytesPerSecond: bytesPerSecond.map { max($0, 1) }))
    }

    var bytesPerSecond: Int64? { state.withLock { $0.bytesPerSecond } }

    func set(_ bytesPerSecond: Int64?) {
        state.withLock {
            $0.bytesPerSecond = bytesPerSecond.map { max($0, 1) }
            $0.tokens = 0
        }
    }

    /// The limit does not count until `restore`: somebody waits for what is left.
    func lift() { state.withLock { $0.isLifted = true } }
    func restore() { state.withLock { $0.isLifted = false } }

    /// How many nanoseconds to wait before the next request may start; 0 for none.
    func delay(now: Int64) -> Int64 {
        state.withLock { state in
            guard let limit = state.bytesPerSecond, !state.isLifted else { return 0 }
            let rate = Double(limit)
            let elapsed = Double(max(0, now - state.filledAt)) / 1e9
            state.tokens = min(state.tokens + elapsed * rate, rate * Self.burst)
            state.filledAt = now
            guard state.tokens <= 0 else { return 0 }
            // Whoever waits asks again: longer than an hour at once needs no number.
            return Int64(min(-state.tokens / rate, 3600) * 1e9) + 1_000_000
        }
    }

    /// Takes what a request moves out of the bucket.
    func consume(_ bytes: Int64) {
        state.withLock { state in
            if state.bytesPerSecond != nil, !state.isLifted { state.tokens -= Double(bytes) }
        }
    }
}
