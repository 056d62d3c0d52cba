import Glibc
import Synchronization

/// Stop signals where the system has no thread to give for them.
///
/// A handler may run between any two instructions: it takes no lock and allocates nothing.
enum SignalHandlers {
    private final class Stop: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// The address of the `Stop` that a signal calls; 0 for none.
    private static let current = Atomic<UInt>(0)
    /// When the first signal came, in nanoseconds; 0 if none has.
    private static let first = Atomic<Int>(0)

    static var isStopping: Bool { first.load(ordering: .acquiring) != 0 }

    /// What a signal calls; without one it ends the process. What it called before stays in memory:
    /// a handler may just run it, and there are only a few in the life of the process.
    static var stop: (@Sendable () -> Void)? {
        get { nil }
        set {
            let address = newValue.map {
                unsafe UInt(bitPattern: Unmanaged.passRetained(Stop($0)).toOpaque())
            }
            current.store(address ?? 0, ordering: .releasing)
        }
    }

    static func install(for numbers: [CInt]) {
        // The first use of a global runs its initialiser, which is nothing for a handler.
        _ = (current.load(ordering: .relaxed), isStopping)
        var action = sigaction()
        // Without SA_RESTART: what waits in the kernel is to return.
        unsafe action.__sigaction_handler.sa_handler = { _ in SignalHandlers.handle() }
        for number in numbers { _ = unsafe sigaction(number, &action, nil) }
        _ = signal(SIGUSR1, SIG_IGN)
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
        guard let pointer = unsafe UnsafeRawPointer(bitPattern: address) else {
            _exit(Exit.interrupted.rawValue)
        }
        unsafe Unmanaged<Stop>.fromOpaque(pointer).takeUnretainedValue().body()
    }
}
