internal import Glibc

/// Which signals a thread takes.
enum SignalMask {
    /// Runs `body` with every signal of the host blocked in this thread: what a program's handlers
    /// are for is not for the threads of a library.
    static func withHostSignalsBlocked<Result>(_ body: () -> Result) -> Result {
        var blocked = sigset_t()
        unsafe sigfillset(&blocked)
        // A thread's own faults: a kernel that can't deliver them ends the process without a word.
        for signal in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS] {
            unsafe sigdelset(&blocked, signal)
        }
        var before = sigset_t()
        unsafe pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        return body()
    }
}
