internal import Glibc

/// A queue over files and over what has a driver of its own, whose completions come through one
/// wait.
///
/// A request about one of the first files is the base's; one about a file behind those is the
/// endpoint's at that place. Of the base this needs a place for a poll of each driver.
///
/// Invariant: a driver is polled only while it has something in flight, so that no poll stays
/// behind.
package struct CompositeQueue<Base: RequestQueue & ~Copyable>: ~Copyable, RequestQueue {
    // Set at creation, never changed.

    private let fileCount: Int
    private let endpoints: [any EndpointDriver]

    // Owned by the queue's thread.

    private var base: Base
    /// The endpoints, then the helpers; the poll of each is about the base's file behind
    /// `fileCount` at its place.
    private var drivers: [Driver]
    private var polls = 0
    /// Why a driver can't be waited for any more.
    private var failure: RingError?

    private struct Driver {
        let driver: any QueueDriver
        var isPolled = false
        /// It was serviced, and may have more to hand back.
        var isReady = false
        /// Polls that ended without an answer, one after the other.
        var fruitlessPolls = 0
    }

    /// A poll that moves nothing this many times in a row has failed.
    private static var patience: Int { 32 }

    /// - Parameters:
    ///   - base: made over `files` files and behind them the descriptors of the endpoints and
    ///     helpers, with a depth that has room for a poll of each.
    ///   - files: how many files are the base's.
    ///   - endpoints: what carries out the requests about the files behind those.
    ///   - helpers: what ends in this queue's loop without having been asked through it.
    package init(
        _ base: consuming Base, files: Int, endpoints: [any EndpointDriver] = [],
        helpers: [any QueueDriver] = []
    ) {
        precondition(base.depth > endpoints.count + helpers.count)
        self.base = base
        fileCount = files
        self.endpoints = endpoints
        drivers = endpoints.map { Driver(driver: $0) } + helpers.map { Driver(driver: $0) }
    }

    package var buffers: BufferSlab { base.buffers }

    /// How many requests may be in flight at once, by the base and the endpoints together.
    package var depth: Int { base.depth - drivers.count }

    /// Requests and what the helpers do.
    package var inFlight: Int {
        var sum = base.inFlight - polls
        for driver in drivers { sum += driver.driver.inFlight }
        return sum
    }

    package var statistics: QueueStatistics { base.statistics }

    package func supports(_ operation: Request.Operation) -> Bool { base.supports(operation) }

    package mutating func enqueue(_ request: Request, token: Token) {
        let place = Int(request.file.rawValue) - fileCount
        if place < 0 || !request.isAboutFile {
            base.enqueue(request, token: token)
        } else {
            endpoints[place].start(request, token: token, base.buffers)
        }
    }

    package mutating func submitAndWait(
        minimum: Int, timeoutNanoseconds: Int64?
    ) throws(RingError) {
        if let failure { throw failure }
        var mayWait = true
        for place in drivers.indices {
            startPoll(place)
            // What it has already is not announced once more.
            if drivers[place].isReady { mayWait = false }
        }
        try base.submitAndWait(
            minimum: mayWait ? minimum : 0, timeoutNanoseconds: timeoutNanoseconds)
    }

    package mutating func nextCompletion() -> Completion? {
        while let completion = base.nextCompletion() {
            let token = ClientToken(completion.token)
            guard token.client == .poll else { return completion }
            endPoll(token.index, completion.result)
        }
        for place in drivers.indices where drivers[place].isReady {
            if let completion = drivers[place].driver.nextCompletion() { return completion }
            drivers[place].isReady = false
        }
        return nil
    }

    package mutating func forsake() {
        base.forsake()
        for driver in drivers { driver.driver.forsake() }
        polls = 0
    }

    private mutating func startPoll(_ place: Int) {
        let driver = drivers[place]
        guard !driver.isPolled, !driver.isReady, driver.driver.inFlight > 0 else { return }
        base.enqueue(
            .pollIn(FileIndex(UInt32(fileCount + place))), token: ClientToken(.poll, place).token)
        drivers[place].isPolled = true
        polls += 1
    }

    private mutating func endPoll(_ place: Int, _ result: Int32) {
        precondition(drivers[place].isPolled, "a poll ended that was not begun")
        drivers[place].isPolled = false
        polls -= 1
        if result >= 0 {
            drivers[place].fruitlessPolls = 0
            drivers[place].driver.service()
            drivers[place].isReady = true
            return
        }
        // What was cancelled or interrupted is begun again by the next wait. Without an answer the
        // queue is as good as broken: nobody would hear what its drivers have to tell.
        drivers[place].fruitlessPolls += 1
        let isTransient = [EINTR, EAGAIN, ECANCELED].contains(-result)
        if !isTransient || drivers[place].fruitlessPolls >= Self.patience {
            failure = .systemCall("IORING_OP_POLL_ADD", code: -result)
        }
    }
}
