import Glibc

/// A thread of the operating system.
///
/// The program has no tasks and no queues: their runtimes make threads when they please, and where
/// no thread can be made, they wait for ever or trap.
struct PlainThread {
    private let thread: pthread_t

    /// Starts a thread that runs `body`; nil if the system has no thread to give.
    init?(_ body: @escaping @Sendable () -> Void) {
        let box = unsafe Unmanaged.passRetained(Box(body))
        var attributes = pthread_attr_t()
        _ = unsafe pthread_attr_init(&attributes)
        defer { _ = unsafe pthread_attr_destroy(&attributes) }
        // The default is the whole limit of the stack, which a small address space does not have.
        _ = unsafe pthread_attr_setstacksize(&attributes, 512 << 10)
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread, &attributes,
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

    /// Waits for the thread to end. Call it once, or `detach`.
    func join() { _ = pthread_join(thread, nil) }

    /// Lets the thread end by itself.
    func detach() { _ = pthread_detach(thread) }

    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}

/// Lets one thread wait, for a time or until another one wakes it.
@safe final class Wakeup: @unchecked Sendable {
    // A semaphore must not move, so that it lives on the heap. It is made for several threads.
    private let semaphore: UnsafeMutablePointer<sem_t> = .allocate(capacity: 1)

    init() { _ = unsafe sem_init(semaphore, 0, 0) }

    deinit {
        _ = unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func wake() { _ = unsafe sem_post(semaphore) }

    /// Whether somebody woke the thread before the time was over.
    func wait(nanoseconds: Int) -> Bool {
        var end = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &end)
        end.tv_nsec += nanoseconds
        end.tv_sec += end.tv_nsec / 1_000_000_000
        end.tv_nsec %= 1_000_000_000
        while true {
            if unsafe sem_clockwait(semaphore, CLOCK_MONOTONIC, &end) == 0 { return true }
            if errno != EINTR { return false }
        }
    }
}
