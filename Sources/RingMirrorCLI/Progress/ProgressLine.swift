/// How far something is: percent, time left, amounts, rate.
struct ProgressLine: Sendable {
    /// What stands before the rest, such as the case of a benchmark; may be empty.
    let title: String
    /// What is done to the bytes, such as `copied`.
    var verb: String
    /// Bytes that were done before, by a job that is resumed. They count for the percentage.
    let saved: Int64

    private let start: Double
    private var pace: Pace
    private var planned: Int64
    private var done: Int64 = 0
    private var now: Double

    init(
        title: String = "", verb: String, planned: Int64, saved: Int64 = 0,
        at now: Double = Clock.now
    ) {
        self.title = title
        self.verb = verb
        self.planned = planned
        self.saved = saved
        self.now = now
        start = now
        pace = Pace(start: now)
    }

    mutating func update(done: Int64, planned: Int64, at now: Double = Clock.now) {
        self.done = done
        self.planned = planned
        self.now = now
        pace.update(done: done, at: now)
    }

    var bytesPerSecond: Int64 { Int64(pace.recent) }

    /// Nil as long as nothing is known.
    var etaSeconds: Double? {
        pace.expected > 0 ? Double(max(0, planned - done)) / pace.expected : nil
    }

    /// Seconds since the beginning.
    var elapsed: Double { now - start }

    /// Of all, what was done before included. 100 only when all is done.
    var percent: Int {
        let whole = saved + planned
        guard whole > 0 else { return 100 }
        return saved + done >= whole
            ? 100 : min(99, Int(Double(saved + done) / Double(whole) * 100))
    }

    /// The line, the most important first: what does not fit into `width` columns is left out from
    /// the end.
    ///
    /// - Parameter state: what the job does instead of copying, such as `flushing`.
    func text(_ state: String? = nil, width: Int = .max) -> String {
        var fields = ["\(percent) %"]
        if let state {
            fields.append(state)
        } else if let etaSeconds, done < planned {
            fields.append(Self.duration(etaSeconds) + " left")
        }
        fields.append(
            "\(ByteSize.text(saved + done)) of \(ByteSize.text(saved + planned)) \(verb)")
        if pace.recent >= 1 { fields.append("\(ByteSize.text(pace.recent))/s") }
        let head = title.isEmpty ? "" : title + " "
        while fields.count > 1, head.count + fields.joined(separator: ", ").count > width {
            fields.removeLast()
        }
        return head + fields.joined(separator: ", ")
    }

    static func duration(_ seconds: Double) -> String {
        let whole = Int(min(seconds, 1e9).rounded(.up))
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}

/// How fast something goes, and how fast it is to be expected to go on.
///
/// Devices work in bursts, and zeros cost nothing: what the last second says means little. In the
/// first 30 seconds all of the time counts; later the last 30 seconds, and for the time left half
/// of it the average of all.
struct Pace: Sendable {
    private static let window = 30.0
    private static let interval = 1.0

    private let start: Double
    /// At most one a second, none older than the window but the first.
    private var samples: [(time: Double, done: Int64)]
    private var time: Double
    private var done: Int64 = 0

    init(start: Double) {
        self.start = start
        time = start
        samples = [(start, 0)]
    }

    mutating func update(done: Int64, at time: Double) {
        guard time >= self.time else { return }
        self.done = done
        self.time = time
        guard let last = samples.last, time - last.time >= Self.interval else { return }
        samples.append((time, done))
        while samples.count > 1, time - samples[1].time >= Self.window { samples.removeFirst() }
    }

    /// Bytes a second in the last 30 seconds.
    var recent: Double { rate(since: samples.first ?? (start, 0)) }

    /// Bytes a second that are to be expected.
    var expected: Double {
        time - start < Self.window ? recent : (recent + rate(since: (start, 0))) / 2
    }

    private func rate(since sample: (time: Double, done: Int64)) -> Double {
        let seconds = time - sample.time
        return seconds > 0 ? Double(done - sample.done) / seconds : 0
    }
}
