import Foundation
import Glibc
import Synchronization
import Testing

/// A thread of a test's own, for what must not happen to the threads of the test runner: signals,
/// system call filters, and rings that stay while others come.
final class TestThread: Sendable {
    private let finished = DispatchSemaphore(value: 0)
    private let failure = Mutex<(any Error)?>(nil)

    init(_ body: @escaping @Sendable () throws -> Void) {
        let thread = Thread { [self] in
            do { try body() } catch { failure.withLock { $0 = error } }
            finished.signal()
        }
        thread.stackSize = 1 << 20
        thread.start()
    }

    /// Waits for the body to end, and throws what it threw.
    func join() throws {
        finished.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }
}

/// Something that one thread says and another sees.
final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .acquiring) }

    func set() { value.store(true, ordering: .releasing) }
}

extension ExitTest.Condition {
    /// How a failed precondition ends a process: not with an error that somebody threw.
    static var trap: Self {
        #if arch(x86_64) || arch(i386)
            .signal(SIGILL)
        #else
            .signal(SIGTRAP)
        #endif
    }
}
