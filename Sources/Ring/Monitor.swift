internal import Glibc

/// A lock under which a thread can also wait for work: a mutex and a condition of POSIX.
/// `Synchronization` has no conditions.
@safe package final class Monitor: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    package init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        // Neither can fail with default attributes.
        precondition(unsafe pthread_mutex_init(mutex, nil) == 0)
        precondition(unsafe pthread_cond_init(condition, nil) == 0)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    package func lock() { unsafe pthread_mutex_lock(mutex) }

    package func unlock() { unsafe pthread_mutex_unlock(mutex) }

    package func withLock<Result>(_ body: () -> Result) -> Result {
        lock()
        defer { unlock() }
        return body()
    }

    /// Gives the lock up until it is signalled, or for no reason. Precondition: it is held.
    package func wait() { unsafe pthread_cond_wait(condition, mutex) }

    /// Wakes one thread that waits.
    package func signal() { unsafe pthread_cond_signal(condition) }

    /// Wakes every thread that waits.
    package func broadcast() { unsafe pthread_cond_broadcast(condition) }
}
