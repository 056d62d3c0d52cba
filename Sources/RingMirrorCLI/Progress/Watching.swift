import Synchronization

/// Something that takes its time, and tells how far it is.
protocol Watched: Sendable {
    /// A line for its beginning.
    var line: ProgressLine { get }
    var progress: (planned: Int64, done: Int64) { get }
    /// What it does instead of moving bytes, such as `flushing`; nil if it moves them.
    var state: String? { get }
    /// Called some times a second.
    mutating func tick(_ line: ProgressLine, _ count: Int, _ display: inout ProgressDisplay)
}

extension Watched {
    var state: String? { nil }
    mutating func tick(_ line: ProgressLine, _ count: Int, _ display: inout ProgressDisplay) {}
}

/// The last line of progress, for SIGUSR1.
final class LastLine: Sendable {
    private let text = Mutex<String?>(nil)

    var value: String? {
        get { text.withLock { $0 } }
        set { text.withLock { $0 = newValue } }
    }
}

extension OutputOptions {
    /// Runs `body`, and shows meanwhile how far `watched` is. Where the system has no thread to
    /// give for that, nothing is shown, and the job itself says when it waits.
    func watching<Result>(
        _ watched: some Watched, _ last: LastLine, _ body: () -> Result
    ) -> Result {
        let end = Wakeup()
        let watcher = PlainThread { [self] in watch(watched, last, until: end) }
        if watcher == nil {
            Message.say(
                "no thread can be made to show progress; if an error pauses the job, "
                    + "`kill -CONT \(Output.processID)` continues it", .note)
        }
        let result = body()
        end.wake()
        watcher?.join()
        return result
    }

    private func watch(_ watched: some Watched, _ last: LastLine, until end: Wakeup) {
        var watched = watched
        var line = watched.line
        var display = ProgressDisplay(isTerminal: Output.errorIsTerminal)
        var ticks = 0
        var hasEnded = false
        // Once more at the end, so that a short job shows as well.
        while !hasEnded {
            hasEnded = end.wait(nanoseconds: 200_000_000)
            let (planned, done) = watched.progress
            line.update(done: done, planned: planned)
            ticks += 1
            watched.tick(line, ticks, &display)
            last.value = line.text(watched.state)
            if showsProgress { display.show(line, hasEnded ? nil : watched.state) }
        }
        display.clear()
    }
}
