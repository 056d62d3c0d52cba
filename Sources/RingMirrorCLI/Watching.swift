/// Something that takes its time, and tells how far it is.
protocol Watched: Sendable {
    /// What it has done to the bytes, such as `Mirrored`.
    var verb: String { get }
    var progress: (planned: Int64, done: Int64) { get }
    /// Called some times a second. False keeps the line of progress away.
    mutating func tick(_ line: ProgressLine, _ count: Int) -> Bool
}

extension Watched {
    mutating func tick(_ line: ProgressLine, _ count: Int) -> Bool { true }
}

extension OutputOptions {
    /// Runs `body`, and shows meanwhile how far `watched` is.
    func watching<Result: Sendable>(
        _ watched: some Watched, _ body: () async -> Result
    ) async -> Result {
        let watcher = Task { [self] in await watch(watched) }
        let result = await body()
        watcher.cancel()
        await watcher.value
        return result
    }

    private func watch(_ watched: some Watched) async {
        var watched = watched
        var line = ProgressLine(verb: watched.verb, planned: watched.progress.planned)
        var ticks = 0
        while !Task.isCancelled {
            try? await Task.sleep(nanoseconds: 200_000_000)
            line.update(done: watched.progress.done)
            ticks += 1
            if watched.tick(line, ticks) && showsProgress {
                Output.overwriteErrorLine(line.text())
            }
        }
        if showsProgress { Output.overwriteErrorLine("") }
    }
}
