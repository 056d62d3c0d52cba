internal import CLinux
internal import Glibc

/// A queue without a ring: each request is one system call on one of a few threads, for where
/// io_uring is forbidden or missing. Requests, results and errors are those of a `Ring`.
///
/// A request that a thread has begun can't be taken back; `.cancel` answers -EALREADY, as the
/// kernel does for one that is under way. With no thread to be had, requests are carried out in
/// `submitAndWait`, one after the other.
@safe public struct ThreadQueue: ~Copyable, RequestQueue {
    /// More system calls at once gained next to nothing (docs/performance.md).
    public static let threadsMax = 32

    // Set at creation, never changed.

    /// The memory of the requests.
    public let buffers: BufferSlab
    /// How many requests may be in flight at once.
    public let depth: Int
    private let crew: RequestCrew

    // Owned by the queue's thread.

    private var staged: FixedQueue<RequestCrew.Job>
    private var ended: FixedQueue<Completion>
    private var polls: [RequestCrew.Job] = []
    private var timeouts: [(deadline: Int64, token: Token)] = []
    private var pollEntries: [ringmirror_poll]
    /// Requests that were enqueued and not yet handed back.
    public private(set) var inFlight = 0
    /// `enters` are waits for completions.
    public private(set) var statistics = QueueStatistics()

    /// Makes a queue for up to `depth` requests in flight over `files`, whose positions in the
    /// array are the `FileIndex`es of requests. The files stay the caller's and must stay open
    /// while the queue lives. Threads are made when they are needed.
    public init(depth: Int, files: [CInt], buffers: BufferSlab) throws(RingError) {
        try self.init(depth: depth, files: files, buffers: buffers) { request, file, buffers in
            request.carryOut(on: file, buffers)
        }
    }

    /// The same with other system calls, for tests.
    package init(
        depth: Int, files: [CInt], buffers: BufferSlab, threadsMax: Int = Self.threadsMax,
        carrier: @escaping @Sendable (Request, CInt, BufferSlab) -> Int32
    ) throws(RingError) {
        precondition(depth > 0 && depth <= 4096)
        self.buffers = buffers
        self.depth = depth
        crew = try RequestCrew(
            depth: depth, threadsMax: min(depth, threadsMax), files: files, buffers: buffers,
            carrier: carrier)
        staged = FixedQueue(capacity: depth)
        ended = FixedQueue(capacity: depth)
        polls.reserveCapacity(depth)
        timeouts.reserveCapacity(depth)
        pollEntries = Array(repeating: ringmirror_poll(), count: depth + 1)
    }

    deinit {
        precondition(inFlight == 0, "threads still hold the memory of \(inFlight) requests")
        crew.close()
    }

    /// Every operation is a system call that any kernel has.
    public func supports(_ operation: Request.Operation) -> Bool { true }

    /// Takes a request; the threads get it with the next `submitAndWait`.
    public mutating func enqueue(_ request: Request, token: Token) {
        precondition(inFlight < depth, "more requests than the queue was made for")
        inFlight += 1
        statistics.submissions &+= 1
        let job = RequestCrew.Job(request: request, token: token)
        switch request.operation {
        case .nop: end(token, 0)
        case .timeout: startTimeout(job)
        case .pollIn: startPoll(job)
        case .cancel: cancel(Token(bitPattern: request.offset), by: token)
        case .read, .write:
            _ = unsafe buffers.address(request.bufferOffset, count: Int(request.length))
            staged.append(job)
        case .sync, .dataSync, .punchHole, .zeroRange, .writeBack, .dropCache:
            staged.append(job)
        }
    }

    /// Hands over what was enqueued, and waits. Throws only if ppoll fails.
    public mutating func submitAndWait(
        minimum: Int, timeoutNanoseconds: Int64?
    ) throws(RingError) {
        crew.hand(&staged)
        let wanted = min(minimum, inFlight)
        let limit = timeoutNanoseconds.map { Self.deadline(after: max(0, $0)) }
        var hasLooked = false
        while true {
            endTimeouts()
            crew.collect(&ended, awaiting: wanted)
            if ended.count >= wanted && (wanted > 0 || hasLooked) { return }
            if let limit, hasLooked, Self.now >= limit { return }
            // Without threads the work is done here; a look, which wants nothing, does some of it.
            if crew.isAlone && crew.carryOutOne() {
                hasLooked = true
                continue
            }
            let wasInterrupted = try sleep(until: wanted == 0 ? 0 : limit)
            hasLooked = true
            // As a ring: a time limit would start anew with every signal.
            if wasInterrupted && limit != nil { return }
        }
    }

    /// The oldest completion that is there.
    public mutating func nextCompletion() -> Completion? {
        guard inFlight > 0 else { return nil }
        if ended.isEmpty { crew.collect(&ended, awaiting: 0) }
        guard let completion = ended.popFirst() else { return nil }
        inFlight -= 1
        statistics.completions &+= 1
        return completion
    }

    /// Gives up on what no thread has begun, and waits for what they have: the files may be closed
    /// afterwards, and the memory be freed.
    public mutating func forsake() {
        crew.close()
        inFlight = 0
    }

    // MARK: what needs no thread

    private mutating func end(_ token: Token, _ result: Int32) {
        ended.append(Completion(token: token, result: result))
    }

    private mutating func startTimeout(_ job: RequestCrew.Job) {
        guard job.request.offset >= 0 else { return end(job.token, -EINVAL) }
        timeouts.append((Self.deadline(after: job.request.offset), job.token))
    }

    private mutating func startPoll(_ job: RequestCrew.Job) {
        guard crew.descriptor(of: job.request.file) != nil else { return end(job.token, -EBADF) }
        polls.append(job)
    }

    private mutating func cancel(_ token: Token, by canceller: Token) {
        if let index = timeouts.firstIndex(where: { $0.token == token }) {
            timeouts.remove(at: index)
        } else if let index = polls.firstIndex(where: { $0.token == token }) {
            polls.remove(at: index)
        } else {
            crew.hand(&staged)
            switch crew.withdraw(token) {
            case .withdrawn: break
            case .running: return end(canceller, -EALREADY)
            case .unknown: return end(canceller, -ENOENT)
            }
        }
        end(token, -ECANCELED)
        end(canceller, 0)
    }

    /// Ends the timeouts whose time has come, in the order of their times.
    private mutating func endTimeouts() {
        guard !timeouts.isEmpty else { return }
        let now = Self.now
        while let next = timeouts.indices.min(by: { timeouts[$0].deadline < timeouts[$1].deadline }
        ),
            timeouts[next].deadline <= now
        {
            end(timeouts.remove(at: next).token, -ETIME)
        }
    }

    // MARK: waiting

    /// Sleeps until the bell rings, a polled file can be read, the next timeout is due, or `limit`
    /// is reached. Returns whether a signal ended it.
    private mutating func sleep(until limit: Int64?) throws(RingError) -> Bool {
        var deadline = limit ?? .max
        for timeout in timeouts { deadline = min(deadline, timeout.deadline) }
        pollEntries[0] = Self.pollEntry(crew.bell.descriptor)
        for (index, poll) in polls.enumerated() {
            pollEntries[index + 1] = Self.pollEntry(crew.descriptor(of: poll.request.file) ?? -1)
        }
        statistics.enters &+= 1
        let wait = deadline == .max ? -1 : max(0, deadline - Self.now)
        let count = unsafe ringmirror_poll(&pollEntries, polls.count + 1, wait)
        if count < 0 {
            let code = errno
            guard code == EINTR else { throw .systemCall("ppoll", code: code) }
            return true
        }
        if pollEntries[0].found != 0 { crew.bell.answer() }
        endPolls()
        return false
    }

    private static func pollEntry(_ descriptor: CInt) -> ringmirror_poll {
        ringmirror_poll(fd: descriptor, events: Int16(POLLIN), found: 0)
    }

    private mutating func endPolls() {
        // From the back, so that what is removed moves nothing that was not looked at.
        for index in polls.indices.reversed() where pollEntries[index + 1].found != 0 {
            let events = Int32(pollEntries[index + 1].found)
            let poll = polls.remove(at: index)
            end(poll.token, events & POLLNVAL != 0 ? -EBADF : events)
        }
    }

    /// Nanoseconds of the monotonic clock.
    private static var now: Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// `.max` for what is farther away than the clock can tell.
    private static func deadline(after nanoseconds: Int64) -> Int64 {
        let (sum, overflow) = now.addingReportingOverflow(nanoseconds)
        return overflow ? .max : sum
    }
}
