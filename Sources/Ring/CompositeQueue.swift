internal import Glibc

/// A queue over files and over what has a driver of its own, whose completions come through one
/// wait.
///
/// A request about a file that has an endpoint is the endpoint's, each other one the base's. Of the
/// base this needs a place for a poll of each driver.
///
/// Invariant: a driver is polled only while it has something in flight, so that no poll stays
/// behind.
package struct CompositeQueue<Base: RequestQueue & ~Copyable>: ~Copyable, RequestQueue {
    // Set at creation, never changed.

    /// By the index of the file; nil where the base has one.
    private let endpoints: [(any EndpointDriver)?]
    private let hasEndpoints: Bool

    // Owned by the queue's thread.

    private var base: Base
    /// The endpoints, then the helpers.
    private var drivers: [Driver]
    private var polls = 0
    /// Why a driver can't be waited for any more.
    private var failure: RingError?

    private struct Driver {
        let driver: any QueueDriver
        /// The base's file that its poll is about.
        let file: FileIndex
        var isPolled = false
        /// It was serviced, and may have more to hand back.
        var isReady = false
        /// Polls that ended without an answer, one after the other.
        var fruitlessPolls = 0
    }

    /// A poll that moves nothing this many times in a row has failed.
    private static var patience: Int { 32 }

    /// - Parameters:
    ///   - base: made over a descriptor for each endpoint, the driver's where it has one, and
    ///     behind them those of the helpers, with a depth that has room for a poll of each driver.
    ///   - endpoints: what carries out the requests about each file; nil: the base does.
    ///   - helpers: what ends in this queue's loop without having been asked through it.
    package init(
        _ base: consuming Base, endpoints: [(any EndpointDriver)?],
        helpers: [any QueueDriver] = []
    ) {
        var drivers: [Driver] = []
        for (file, driver) in endpoints.enumerated() {
            guard let driver else { continue }
            drivers.append(Driver(driver: driver, file: FileIndex(UInt32(file))))
        }
        hasEndpoints = !drivers.isEmpty
        for (place, driver) in helpers.enumerated() {
            let file = FileIndex(UInt32(endpoints.count + place))
            drivers.append(Driver(driver: driver, file: file))
        }
        precondition(base.depth > drivers.count)
        self.base = base
        self.endpoints = endpoints
        self.drivers = drivers
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
        if hasEndpoints, request.isAboutFile,
            let endpoint = endpoints[Int(request.file.rawValue)]
        {
            endpoint.start(request, token: token, base.buffers)
        } else {
            base.enqueue(request, token: token)
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
        base.enqueue(.pollIn(driver.file), token: ClientToken(.poll, place).token)
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
