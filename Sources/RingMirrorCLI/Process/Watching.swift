/// Something that takes its time, and tells how far it is.
protocol Watched: Sendable {
    /// What it has done to the bytes, such as `Copied`.
    var verb: String { get }
    var progress: (planned: Int64, done: Int64) { get }
    /// Called some times a second. False keeps the line of progress away.
    mutating func tick(_ line: ProgressLine, _ count: Int) -> Bool
}

extension Watched {
    mutating func tick(_ line: ProgressLine, _ count: Int) -> Bool { true }
}

extension OutputOptions {
    /// Runs `body`, and shows meanwhile how far `watched` is. Where the system has no thread to
    /// give for that, nothing is shown.
    func watching<Result>(_ watched: some Watched, _ body: () -> Result) -> Result {
        let end = Wakeup()
        let watcher = PlainThread { [self] in watch(watched, until: end) }
        let result = body()
        end.wake()
        watcher?.join()
        return result
    }

    private func watch(_ watched: some Watched, until end: Wakeup) {
        var watched = watched
        var line = ProgressLine(verb: watched.verb, planned: watched.progress.planned)
        var ticks = 0
        var hasEnded = false
        // Once more at the end, so that a short job shows as well.
        while !hasEnded {
            hasEnded = end.wait(nanoseconds: 200_000_000)
            line.update(done: watched.progress.done)
            ticks += 1
            if watched.tick(line, ticks) && showsProgress {
                Output.overwriteErrorLine(line.text())
            }
        }
        if showsProgress { Output.overwriteErrorLine("") }
    }
}
