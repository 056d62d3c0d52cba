import Glibc

/// SIGXFSZ, which a write beyond the file size limit (`ulimit -f`) sends to the thread that wrote,
/// and which ends the process of a host that has not asked for it.
package enum FileSizeSignal {
    /// Runs `body`, in which such a write is an error of that write, EFBIG, and nothing else.
    ///
    /// `errno` is not kept: `body` has to return it.
    package static func blocked<Result, Failure: Error>(
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
