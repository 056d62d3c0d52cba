import Dispatch
import Glibc

/// Turns signals into calls on an ordinary thread.
///
/// SIGINT and SIGTERM end the job cleanly, and a second one ends the process at once. SIGCONT
/// resumes a job that an error paused; SIGUSR1 prints where the job is, as dd does.
final class Signals {
    private var sources: [any DispatchSourceSignal] = []
    private let queue = DispatchQueue(label: "ringmirror.signals")

    /// Starts listening; stops when the object goes away.
    init(
        stop: @escaping @Sendable () -> Void, resume: @escaping @Sendable () -> Void = {},
        show: @escaping @Sendable () -> Void = {}
    ) {
        // A write to a closed pipe answers EPIPE, and Output drops it.
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGINT, SIGTERM] {
            var count = 0
            on(number) {
                count += 1
                if count > 1 { _exit(Exit.interrupted.rawValue) }
                stop()
            }
        }
        on(SIGCONT, resume)
        on(SIGUSR1, show)
    }

    private func on(_ number: CInt, _ body: @escaping () -> Void) {
        if number != SIGCONT { signal(number, SIG_IGN) }
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler(handler: body)
        source.resume()
        sources.append(source)
    }

    deinit { for source in sources { source.cancel() } }
}
