internal import CLiburing
internal import Glibc

/// Which signals a thread takes.
package enum SignalMask {
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

    /// Runs `body`, in which a write beyond the file size limit (`ulimit -f`) is an error of that
    /// write, EFBIG, also where the host has not ignored SIGXFSZ, which would end the process.
    package static func withoutFileSizeSignal<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var limit = sigset_t()
        unsafe sigemptyset(&limit)
        unsafe sigaddset(&limit, SIGXFSZ)
        var before = sigset_t()
        unsafe pthread_sigmask(SIG_BLOCK, &limit, &before)
        defer {
            if unsafe sigismember(&before, SIGXFSZ) == 0 {
                // The kernel sends it to the thread that wrote: it is here, if anywhere.
                var none = timespec()
                while unsafe sigtimedwait(&limit, nil, &none) < 0 && errno == EINTR {}
                unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
            }
        }
        return try body()
    }
}
