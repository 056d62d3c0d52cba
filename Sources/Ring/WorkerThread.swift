internal import Glibc

/// A thread of the operating system. A queue belongs to the thread that made it, so that a job's
/// workers can't run on the cooperative pool, which moves tasks between threads and must not be
/// blocked.
///
/// The host's signals stay the host's: such a thread takes none but those that are its own faults.
/// A write beyond the file size limit is then an error (EFBIG) and not the end of the process.
package struct WorkerThread: Sendable {
    private let thread: pthread_t

    /// Enough for the copy loop with sanitizers. The default would be the soft limit on stacks,
    /// which may be far too small, or so large that an address space limit has no room for it.
    package static let stackBytes = 1 << 20

    /// Starts a thread that runs `body`; nil if the system has no thread to give, or its stack
    /// would leave the process too little memory.
    package init?(
        stackBytes: Int = Self.stackBytes, _ body: @escaping @Sendable () -> Void
    ) {
        guard AddressSpace.hasRoom(for: stackBytes) else { return nil }
        var attributes = pthread_attr_t()
        guard unsafe pthread_attr_init(&attributes) == 0 else { return nil }
        defer { unsafe pthread_attr_destroy(&attributes) }
        guard unsafe pthread_attr_setstacksize(&attributes, stackBytes) == 0 else { return nil }
        let box = unsafe Unmanaged.passRetained(Box(body))
        var thread = pthread_t()
        // A thread inherits the mask of the one that makes it.
        let code = SignalMask.withHostSignalsBlocked {
            unsafe pthread_create(
                &thread, &attributes,
                { context in
                    guard let context = unsafe context else { return nil }
                    unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
                    return nil
                }, unsafe box.toOpaque())
        }
        guard code == 0 else {
            unsafe box.release()
            return nil
        }
        self.thread = thread
    }

    /// What `body` returns, computed on a thread of its own while the caller's task sleeps.
    package static func result<Result: Sendable>(
        of body: @escaping @Sendable () -> Result
    ) async -> Result {
        await withCheckedContinuation { continuation in
            guard let thread = WorkerThread({ continuation.resume(returning: body()) }) else {
                // Without a thread the caller's has to do.
                continuation.resume(returning: body())
                return
            }
            thread.detach()
        }
    }

    /// Waits for the thread to end. Call it once.
    package func join() { _ = pthread_join(thread, nil) }

    /// Lets the thread end by itself. Call it instead of `join`.
    package func detach() { _ = pthread_detach(thread) }

    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
