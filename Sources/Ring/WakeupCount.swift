internal import CLinux

/// How often those who wait were to be woken. Unlike a condition it has no lock, so that a signal
/// handler may raise it.
@safe package final class WakeupCount: @unchecked Sendable {
    private let count: UnsafeMutablePointer<UInt32>

    package init() {
        unsafe count = .allocate(capacity: 1)
        unsafe count.initialize(to: 0)
    }

    deinit { unsafe count.deallocate() }

    package var value: UInt32 { unsafe ringmirror_count(count) }

    /// Wakes every thread that waits.
    package func raise() { unsafe ringmirror_raise_count(count) }

    /// Waits until the count is another one than `known`, but no longer than so many nanoseconds.
    /// It may return for no reason.
    package func wait(past known: UInt32, limit: Int64) {
        unsafe ringmirror_await_count(count, known, limit)
    }
}
