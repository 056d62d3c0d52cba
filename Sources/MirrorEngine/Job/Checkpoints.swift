package import DirtyBitmap
internal import Synchronization

/// When a job makes durable what it has done so far while it goes on, and who is told.
///
/// A checkpoint is: note what is not written yet, have the target's map note what is, flush the
/// target, have the map make it last, and only if all of that succeeded tell the keeper of the
/// state. What was noted is a superset of what the target lacks then, whatever is written
/// meanwhile. One checkpoint is under way at a time: the first worker to come begins it.
package final class Checkpoints: Sendable {
    /// Takes what a target is not known to hold. Called on the thread that ends the checkpoint, or
    /// on a worker's where there is none to be had, so it must not block.
    package typealias Keeper = @Sendable (_ remaining: borrowing DirtyBitmap) -> Void

    private struct State: ~Copyable {
        /// What was noted, while its flush is under way.
        var noted: DirtyBitmap?
        /// What the last checkpoint that succeeded had noted.
        var durable: DirtyBitmap?

        /// Whether what is noted is what is known to be durable already.
        var hasNothingNew: Bool {
            switch noted {
            case .some(let noted):
                switch durable {
                case .some(let durable): noted == durable
                case nil: false
                }
            case nil: false
            }
        }
    }

    /// Between checkpoints, in nanoseconds; nil for none.
    private let interval: Int64?
    private let keeper: Keeper
    /// When the next one is due; `.max` while one is under way.
    private let due: Atomic<Int64>
    private let state = Mutex(State())

    /// - Parameter interval: nanoseconds, 0 for as often as can be; nil for no checkpoints.
    package init(every interval: Int64? = nil, keeper: @escaping Keeper = { _ in }) {
        self.interval = interval
        self.keeper = keeper
        due = Atomic(interval.map { Clock.now + $0 } ?? .max)
    }

    /// Whether a checkpoint is due, and now under way: the caller seals, flushes and commits the
    /// target and says `end`, or lets the job fail.
    func begin(_ dispenser: RunDispenser) -> Bool {
        guard interval != nil else { return false }
        let due = due.load(ordering: .relaxed)
        guard due != .max, Clock.now >= due,
            self.due.compareExchange(expected: due, desired: .max, ordering: .acquiringAndReleasing)
                .exchanged
        else { return false }
        var remaining: DirtyBitmap? = dispenser.remaining()
        let isNews = state.withLock { state in
            state.noted = remaining.take()
            guard state.hasNothingNew else { return true }
            state.noted = nil
            return false
        }
        // Nothing new was written, as in a pause: the last one still tells.
        if !isNews { schedule() }
        return isNews
    }

    /// The flush has succeeded, and what was sealed before it has been committed.
    func end() {
        state.withLock { state in
            guard let noted = state.noted.take() else { return }
            keeper(noted)
            state.durable = consume noted
        }
        schedule()
    }

    private func schedule() {
        guard let interval else { return }
        due.store(Clock.now + interval, ordering: .releasing)
    }

    /// What the target was not known to hold at the last checkpoint; nil if there was none.
    package func durable() -> DirtyBitmap? {
        state.withLock { state in
            switch state.durable {
            case .some(let durable): durable.copy()
            case nil: nil
            }
        }
    }
}
