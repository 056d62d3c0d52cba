import Glibc
import Synchronization

/// Turns signals into calls on a thread that waits for them.
///
/// They are blocked in every thread from the first instruction of `main`, so that none is lost and
/// none ends the process behind its back. SIGINT, SIGTERM and SIGHUP stop what is being done, and
/// a second one, a second or more later, ends the process at once: programs that end others often
/// send two signals in a row. SIGCONT resumes a job that an error paused; SIGUSR1 prints how far it
/// is, as dd does.
enum Signals {
    private struct State {
        var activity = Activity.reading("starting")
        /// When the first stop signal came.
        var stopped: Double?
    }

    /// A second signal before this many seconds is the first one again.
    private static let secondsToSecond = 1.0
    private static let stops = [SIGINT, SIGTERM, SIGHUP]
    private static let state = Mutex(State())

    /// To be called before anything else: threads that libraries make have these signals blocked.
    static func takeOver() {
        // A write to a closed pipe is an error, and so is one beyond the limit of a file's size.
        _ = signal(SIGPIPE, SIG_IGN)
        _ = signal(SIGXFSZ, SIG_IGN)
        var set = signals
        guard unsafe pthread_sigmask(SIG_BLOCK, &set, nil) == 0 else { return }
        if let thread = PlainThread({ listen() }) {
            thread.detach()
        } else {
            SignalHandlers.install(for: stops)
            _ = unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
        }
    }

    /// A stop signal has come.
    static var isStopping: Bool {
        SignalHandlers.isStopping || state.withLock { $0.stopped != nil }
    }

    /// From now on signals are about this.
    static func enter(_ activity: Activity) { _ = begin(activity) }

    /// Runs `body`, which signals may stop in the way that `activity` says.
    static func during<Result: ~Copyable, Failure: Error>(
        _ activity: Activity, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let previous = begin(activity)
        defer { _ = begin(previous) }
        return try body()
    }

    /// What came before the activity counts for it too: an interrupt between two must not get lost.
    private static func begin(_ activity: Activity) -> Activity {
        let (previous, isStopping) = state.withLock { state in
            let previous = state.activity
            state.activity = activity
            return (previous, state.stopped != nil)
        }
        SignalHandlers.enter(activity)
        if isStopping || SignalHandlers.isStopping { activity.stop?() }
        return previous
    }

    private static var signals: sigset_t {
        var set = sigset_t()
        _ = unsafe sigemptyset(&set)
        for number in stops + [SIGCONT, SIGUSR1] where !isIgnored(number) {
            _ = unsafe sigaddset(&set, number)
        }
        return set
    }

    /// nohup and daemons have SIGHUP ignored, and that is how it stays.
    private static func isIgnored(_ number: CInt) -> Bool {
        guard number == SIGHUP else { return false }
        var action = sigaction()
        guard unsafe sigaction(number, nil, &action) == 0 else { return false }
        let handler = unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
        return unsafe handler == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    private static func listen() {
        var set = signals
        while true {
            let number = unsafe sigwaitinfo(&set, nil)
            switch number {
            case SIGCONT: state.withLock { $0.activity }.resume()
            case SIGUSR1: show(state.withLock { $0.activity })
            case _ where stops.contains(number): stop()
            default: continue
            }
        }
    }

    private static func show(_ activity: Activity) {
        Message.say(activity.show?() ?? activity.title, onlyIfWritable: true)
    }

    private static func stop() {
        let now = Clock.now
        let (activity, first) = state.withLock { state in
            let first = state.stopped
            if first == nil { state.stopped = now }
            return (state.activity, first)
        }
        if let first {
            if now - first >= secondsToSecond { _exit(Exit.interrupted.rawValue) }
            return
        }
        guard let stop = activity.stop else {
            Message.interrupted(activity.title)
            _exit(Exit.interrupted.rawValue)
        }
        stop()
        Message.say(
            "stopping after what is in flight; press Ctrl-C again to end at once",
            onlyIfWritable: true)
    }
}
