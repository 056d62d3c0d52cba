internal import Glibc

/// A thread of the operating system. A ring belongs to the thread that made it, so a job's workers
/// can't run on the cooperative pool, which moves tasks between threads and must not be blocked.
struct WorkerThread {
    private let thread: pthread_t

    /// Starts a thread that runs `body`; nil if the system has no thread to give.
    init?(_ body: @escaping @Sendable () -> Void) {
        let box = unsafe Unmanaged.passRetained(Box(body))
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
                return nil
            }, unsafe box.toOpaque())
        guard code == 0 else {
            unsafe box.release()
            return nil
        }
        self.thread = thread
    }

    /// What `body` returns, computed on a thread of its own while the caller's task sleeps.
    static func result<Result: Sendable>(
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
    func join() { _ = pthread_join(thread, nil) }

    /// Lets the thread end by itself. Call it instead of `join`.
    func detach() { _ = pthread_detach(thread) }

    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
