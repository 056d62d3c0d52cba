/// How fast a live job copies, how fast its source is written, and how long a pause of the writers
/// would be by that. All times are in nanoseconds, all rates in bytes a second.
struct LiveMeasure: Sendable {
    /// Of the copy, in the last pass that was long enough to tell; nil: none was.
    private(set) var copyRate: Double?
    /// Of what becomes dirty, in the last pass.
    private(set) var dirtyRate: Double?
    /// How long the last flush of the target took.
    private(set) var flushTime: Int64 = 0
    /// How long it took to hold the writers back and to see that nothing is in flight.
    private(set) var quiesceTime: Int64 = 50_000_000
    /// The estimate was too low so often that it counts this many times.
    private var caution = 1.0

    /// A pass that is shorter tells little of rates.
    private static var passMin: Int64 { 20_000_000 }

    mutating func copied(_ bytes: Int64, in time: Int64) {
        guard time >= Self.passMin || copyRate == nil, bytes > 0, time > 0 else { return }
        copyRate = Double(bytes) / (Double(time) / 1e9)
    }

    /// - Parameter bytes: what has become dirty in this time.
    mutating func arrived(_ bytes: Int64, in time: Int64) {
        guard time >= Self.passMin else { return }
        dirtyRate = Double(bytes) / (Double(time) / 1e9)
    }

    mutating func flushed(in time: Int64) { flushTime = time }
    mutating func quiesced(in time: Int64) { quiesceTime = time }

    /// The writers were let go before all was copied.
    mutating func wasTooShort() { caution *= 2 }

    /// How long the writers would wait if they were held back with so much dirty: until they stand
    /// still, all is copied and flushed.
    func pause(dirty: Int64) -> Int64 {
        let copy = copyRate.map { Double(dirty) / $0 * 1e9 } ?? 0
        let sum = (copy + Double(flushTime) + Double(quiesceTime)) * caution
        return sum < Double(Int64.max / 4) ? Int64(sum) : Int64.max / 4
    }

    /// How long it takes to compare so much: reading both sides is about as fast as copying was.
    func comparison(of bytes: Int64) -> Int64 {
        guard bytes > 0, let copyRate else { return 0 }
        let time = Double(bytes) / copyRate * 1e9
        return time < Double(Int64.max / 4) ? Int64(time) : Int64.max / 4
    }

    /// How long until what is dirty fits into such a pause, if both rates stay; nil: never, or
    /// nobody can tell yet.
    func timeToConverge(dirty: Int64, maxPause: Int64) -> Int64? {
        guard let copyRate, let dirtyRate else { return nil }
        if pause(dirty: dirty) <= maxPause { return 0 }
        guard dirtyRate < copyRate * 0.95 else { return nil }
        return Int64(Double(dirty) / (copyRate - dirtyRate) * 1e9)
    }
}

/// How far a live job is.
public struct LiveProgress: Sendable, Hashable {
    /// Sweeps over what was dirty, the first one included.
    public internal(set) var passes = 0
    /// What was dirty when the last pass began, in bytes.
    public internal(set) var dirty: Int64 = 0
    /// Bytes a second that become dirty; nil: not known yet.
    public internal(set) var dirtyRate: Double?
    /// Bytes a second that are copied; nil: not known yet.
    public internal(set) var copyRate: Double?
    /// How long the writers would have to wait for the end, in nanoseconds. What is compared
    /// meanwhile counts.
    public internal(set) var predictedPause: Int64 = 0
    /// Nanoseconds until the pause would be short enough; nil: never at these rates, or not known.
    public internal(set) var timeToReady: Int64?
    /// Whether the writers are held back.
    public internal(set) var isHeld = false
}
