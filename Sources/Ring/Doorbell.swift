internal import CLinux
internal import Glibc

/// Wakes a thread from another one: an eventfd, which a ring can poll and a thread can wait for.
package final class Doorbell: Sendable {
    /// Readable while it has been rung and not been answered.
    package let descriptor: CInt
    private let isCounted: Bool

    /// - Parameter isCounted: for `wait`, which takes one ring at a time; else for `answer`, which
    ///   takes all there were.
    package init(isCounted: Bool = false) throws(RingError) {
        self.isCounted = isCounted
        descriptor = ringmirror_eventfd(isCounted ? 1 : 0)
        guard descriptor >= 0 else { throw .systemCall("eventfd", code: errno) }
    }

    deinit { close(descriptor) }

    /// May be called from any thread. It could only wait if it had been rung 2^64 times.
    package func ring() {
        var one: UInt64 = 1
        while unsafe write(descriptor, &one, 8) < 0 && errno == EINTR {}
    }

    /// Takes all rings so far. What was done before any of them can be seen afterwards.
    package func answer() {
        precondition(!isCounted)
        take()
    }

    /// Waits for a ring and takes it.
    package func wait() {
        precondition(isCounted)
        take()
    }

    private func take() {
        var count: UInt64 = 0
        while unsafe read(descriptor, &count, 8) < 0 && errno == EINTR {}
    }
}
