import Glibc

/// The line that a terminal shows while a job runs: how far, how fast, how long still.
struct ProgressLine {
    let verb: String
    let planned: Int64
    private let start = ProgressLine.now
    private var rate = 0.0
    private var lastDone: Int64 = 0
    private var lastTime: Double

    init(verb: String, planned: Int64) {
        self.verb = verb
        self.planned = planned
        lastTime = start
    }

    static var now: Double {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Takes notice of progress. Rates are smoothed over some seconds, so that the estimate stands
    /// still.
    mutating func update(done: Int64) {
        let now = Self.now
        let elapsed = now - lastTime
        guard elapsed > 0.05 else { return }
        let current = Double(done - lastDone) / elapsed
        let weight = min(1, elapsed / 3)
        rate = rate == 0 ? current : rate * (1 - weight) + current * weight
        lastDone = done
        lastTime = now
    }

    var bytesPerSecond: Int64 { Int64(rate) }

    var etaSeconds: Double? { rate > 0 ? Double(planned - lastDone) / rate : nil }

    func text(note: String? = nil) -> String {
        let percent = planned == 0 ? 100 : Int(Double(lastDone) / Double(planned) * 100)
        var text =
            "\(verb) \(ByteSize.text(lastDone)) of \(ByteSize.text(planned)), \(percent) %, "
            + "\(ByteSize.text(rate))/s"
        if let note {
            text += ", " + note
        } else if let etaSeconds, lastDone < planned {
            text += ", " + Self.duration(etaSeconds) + " left"
        }
        return text
    }

    static func duration(_ seconds: Double) -> String {
        let whole = Int(min(seconds, 1e9).rounded(.up))
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}
