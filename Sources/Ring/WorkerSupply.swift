/// Whether the kernel finds a worker thread for one kind of call on one file. A limit on processes
/// may leave none, and the kernel then takes a tenth of a second over each call before it gives up.
/// Where it keeps giving up, the ring's own thread does these calls, and one now and then goes to
/// the kernel to see whether that has changed.
///
/// A few calls that were given up are no reason: signals to the ring's thread cause that as well.
struct WorkerSupply: Equatable {
    /// A call that was given up weighs as much as so many that were done, of which some need no
    /// worker.
    private static let weight: UInt8 = 8
    /// From this weight on, the kernel gets no more than single calls.
    private static let limit: UInt8 = 32
    /// How many calls the ring's thread does before one goes to the kernel again, at first and at
    /// most: it doubles each time that none is found.
    private static let pauses: ClosedRange<UInt32> = 64...65536

    private var shortage: UInt8 = 0
    private var pause = pauses.lowerBound
    private var untilNext = pauses.lowerBound

    /// Whether the kernel is taken to have no worker for these calls.
    var isShort: Bool { shortage >= Self.limit }

    /// Whether the next call goes to the kernel.
    mutating func takesNext() -> Bool {
        guard isShort else { return true }
        untilNext -= 1
        guard untilNext == 0 else { return false }
        untilNext = pause
        return true
    }

    /// The kernel has done a call.
    mutating func served() {
        guard shortage > 0 else { return }
        // The call that shows that there are workers again lets the next ones go there.
        if isShort { shortage = Self.limit - Self.weight } else { shortage -= 1 }
        pause = Self.pauses.lowerBound
        untilNext = pause
    }

    /// The kernel has given a call up that nobody wanted to be cancelled.
    mutating func refused() {
        if isShort { pause = min(pause * 2, Self.pauses.upperBound) }
        shortage = min(shortage + Self.weight, Self.limit)
        untilNext = pause
    }
}
