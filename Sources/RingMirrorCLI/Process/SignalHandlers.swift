import Glibc
import Synchronization

/// Signals that steer a job, where the system has no thread to give for them.
///
/// A handler may run between any two instructions: it takes no lock and allocates nothing.
enum SignalHandlers {
    private final class Calls: Sendable {
        let stop: (@Sendable () -> Void)?
        let resume: @Sendable () -> Void
        init(_ activity: Activity) {
            stop = activity.stop
            resume = activity.resume
        }
    }

    /// The address of the `Calls` that signals make; 0 for none.
    private static let current = Atomic<UInt>(0)
    /// When the first signal came, in nanoseconds; 0 if none has.
    private static let first = Atomic<Int>(0)

    /// Whether signals come here: where there are threads, one of them takes them.
    private static let isInstalled = Atomic<Bool>(false)

    static var isStopping: Bool { first.load(ordering: .acquiring) != 0 }

    /// From now on signals are about this. What they called before stays in memory, since a handler
    /// may just run it; nothing does where a thread takes the signals.
    static func enter(_ activity: Activity) {
        guard isInstalled.load(ordering: .acquiring) else { return }
        let calls = Calls(activity)
        current.store(
            unsafe UInt(bitPattern: Unmanaged.passRetained(calls).toOpaque()),
            ordering: .releasing)
    }

    static func install(for numbers: [CInt]) {
        // The first use of a global runs its initialiser, which is nothing for a handler.
        _ = (current.load(ordering: .relaxed), isStopping)
        isInstalled.store(true, ordering: .releasing)
        var action = sigaction()
        // Without SA_RESTART: what waits in the kernel is to return.
        unsafe action.__sigaction_handler.sa_handler = { _ in SignalHandlers.handle() }
        for number in numbers { _ = unsafe sigaction(number, &action, nil) }
        unsafe action.__sigaction_handler.sa_handler = { _ in SignalHandlers.resume() }
        _ = unsafe sigaction(SIGCONT, &action, nil)
        _ = signal(SIGUSR1, SIG_IGN)
    }

    private static func resume() {
        let address = current.load(ordering: .acquiring)
        guard let pointer = unsafe UnsafeRawPointer(bitPattern: address) else { return }
        unsafe Unmanaged<Calls>.fromOpaque(pointer).takeUnretainedValue().resume()
    }

    private static func handle() {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        let now = time.tv_sec * 1_000_000_000 + time.tv_nsec
        let (isFirst, earlier) = first.compareExchange(
            expected: 0, desired: now, ordering: .acquiringAndReleasing)
        if !isFirst {
            if now - earlier >= 1_000_000_000 { _exit(Exit.interrupted.rawValue) }
            return
        }
        let address = current.load(ordering: .acquiring)
        guard let pointer = unsafe UnsafeRawPointer(bitPattern: address),
            let stop = unsafe Unmanaged<Calls>.fromOpaque(pointer).takeUnretainedValue().stop
        else { _exit(Exit.interrupted.rawValue) }
        stop()
    }
}
