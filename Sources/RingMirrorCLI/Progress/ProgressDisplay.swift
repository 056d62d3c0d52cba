/// Shows a line of progress: on a terminal over the last one, elsewhere as a line of the log that
/// comes every tenth and every minute.
struct ProgressDisplay {
    private static let secondsBetweenLines = 60.0

    private let isTerminal: Bool
    private var isShown = false
    private var lastPercent = 0
    private var lastTime = 0.0

    init(isTerminal: Bool) { self.isTerminal = isTerminal }

    mutating func show(_ line: ProgressLine, _ state: String?) {
        guard !isTerminal else {
            Output.overwriteErrorLine(line.text(state, width: Output.errorColumns - 1))
            isShown = true
            return
        }
        guard isDue(line) else { return }
        lastPercent = line.percent
        lastTime = line.elapsed
        Message.say(
            line.text(state) + ", after \(ProgressLine.duration(line.elapsed))", .progress)
    }

    /// Whether a line of a log says something new.
    func isDue(_ line: ProgressLine) -> Bool {
        line.percent / 10 > lastPercent / 10 || line.elapsed - lastTime >= Self.secondsBetweenLines
    }

    /// Takes the line away, for a message or at the end.
    mutating func clear() {
        if isShown { Output.overwriteErrorLine("") }
        isShown = false
    }
}
