internal import CLiburing
internal import CLinux
internal import Glibc

/// One io_uring, driven by the thread that created it.
///
/// Invariant: `inFlight` counts requests that were enqueued and whose completions were not yet
/// taken; it never exceeds `depth`, and the completion queue has room for twice as many, so it
/// can't overflow.
@safe public struct Ring: ~Copyable, RequestQueue {
    // Set at creation, never changed.

    private let ring: OpaquePointer
    /// What a timeout request points to until it is submitted, one for each flight.
    private let times: UnsafeMutablePointer<ringmirror_time>
    private let files: [CInt]
    public let buffers: BufferSlab
    public let depth: Int
    /// What the kernel granted.
    public let setup: RingSetup
    private let supportedOperations: UInt64

    // Owned by the ring's thread.

    private var completionRing: CompletionRing
    /// What is in flight; the kernel knows a request by its position here.
    private var flights: [Flight]
    private var free: [Int]
    public private(set) var inFlight = 0
    public private(set) var statistics = QueueStatistics()

    private struct Flight {
        var request = Request.nop
        var token: Token = 0
        var isInFlight = false
        /// Somebody asked for the request to be cancelled.
        var isCancelled = false
    }

    /// Makes a ring for up to `depth` requests in flight over `files`, whose positions in the array
    /// are the `FileIndex`es of requests. The files stay the caller's and must stay open while the
    /// ring lives.
    public init(depth: Int, files: [CInt], buffers: BufferSlab) throws(RingError) {
        precondition(depth > 0 && depth <= 4096)
        let made = try RingSetup.make(depth: depth, files: files, buffers: buffers)
        unsafe ring = made.ring
        setup = made.setup
        supportedOperations = made.supportedOperations
        self.files = files
        self.buffers = buffers
        self.depth = depth
        flights = Array(repeating: Flight(), count: depth)
        free = Array((0..<depth).reversed())
        unsafe times = .allocate(capacity: depth)
        unsafe times.initialize(repeating: ringmirror_time(), count: depth)
        let queue = unsafe ringmirror_ring_completions(made.ring)
        unsafe completionRing = CompletionRing(
            head: queue.head, tail: queue.tail, mask: queue.mask, entries: queue.entries)
    }

    deinit {
        precondition(inFlight == 0, "the kernel still holds the memory of \(inFlight) requests")
        // The kernel takes a ring down in the background. Files that are still registered then stay
        // open, with their claims and locks, for some time after the process has ended.
        if setup.registeredFiles { _ = unsafe ringmirror_ring_unregister_files(ring) }
        unsafe ringmirror_ring_free(ring)
        unsafe times.deallocate()
    }

    public func supports(_ operation: Request.Operation) -> Bool {
        supportedOperations & (1 << UInt64(operation.opcode)) != 0
    }

    public mutating func enqueue(_ request: Request, token: Token) {
        precondition(inFlight < depth, "more requests than the ring was made for")
        // The submission queue has at least `depth` entries, so an entry is free.
        guard let entry = unsafe ringmirror_ring_next_entry(ring) else {
            preconditionFailure("the submission queue is full with \(inFlight) requests in flight")
        }
        let index = free.removeLast()
        flights[index] = Flight(request: request, token: token, isInFlight: true)
        unsafe entry.pointee = prepared(request, index)
        inFlight += 1
    }

    public mutating func submitAndWait(
        minimum: Int, timeoutNanoseconds: Int64?
    ) throws(RingError) {
        let wanted = UInt32(min(minimum, inFlight))
        var refusals = 0
        while true {
            let unsubmitted = unsafe ringmirror_ring_unsubmitted(ring)
            // Nothing wanted means a look, and the kernel has to be asked for that, too: with
            // deferred task running, completions come only while this thread is in the kernel.
            let enough = wanted == 0 && inFlight > 0 ? 1 : wanted
            if unsubmitted == 0 && completionRing.ready >= enough { return }
            let result = enter(wait: wanted, timeoutNanoseconds)
            statistics.enters &+= 1
            let left = unsafe ringmirror_ring_unsubmitted(ring)
            statistics.submissions &+= UInt64(unsubmitted &- left)

            switch -result {
            case ETIME:
                return
            case EINTR:
                // A signal. Entries that the kernel didn't take are still queued; they go with the
                // next call. A time limit would start anew with it: a timer's signals, sent more
                // often than the limit is long, would make the wait endless.
                if left == 0 && timeoutNanoseconds != nil { return }
            case EAGAIN, EBUSY:
                // The kernel is short of memory, or wants completions to be reaped first.
                if completionRing.ready > 0 { return }
                refusals += 1
                guard refusals < 1000 else {
                    throw .systemCall("io_uring_enter", code: -result)
                }
                usleep(1000)
            case ..<1:
                if left == 0 { return }
            default:
                throw .systemCall("io_uring_enter", code: -result)
            }
        }
    }

    public mutating func nextCompletion() -> Completion? {
        // What completes after `forsake` is nobody's any more.
        guard inFlight > 0, let completion = completionRing.next() else { return nil }
        inFlight -= 1
        statistics.completions &+= 1
        let index = Int(completion.token)
        let flight = flights[index]
        precondition(flight.isInFlight, "the kernel completed a request twice")
        flights[index].isInFlight = false
        free.append(index)
        var result = completion.result
        if result == -ECANCELED && !flight.isCancelled && flight.request.isFileCall {
            result = carryOut(flight.request)
        }
        return Completion(token: flight.token, result: result)
    }

    /// What the kernel needs a worker thread for (flushes, holes, buffered files) it cancels where
    /// it can't start one: below a limit on processes (`ulimit -u`, pids.max), or while this thread
    /// gets many signals. It has to be done all the same: here, while everything else waits.
    private func carryOut(_ request: Request) -> Int32 {
        guard Int(request.file.rawValue) < files.count else { return -EBADF }
        return request.carryOut(on: files[Int(request.file.rawValue)], buffers)
    }

    /// The kernel's name for the first request in flight with this token, and notes that it is to
    /// be cancelled; a name that no request has if there is none.
    private mutating func cancelled(_ token: Token) -> UInt64 {
        let index = flights.firstIndex {
            $0.isInFlight && $0.token == token && $0.request.operation != .cancel
        }
        guard let index else { return .max }
        flights[index].isCancelled = true
        return UInt64(index)
    }

    public mutating func forsake() {
        guard inFlight > 0 else { return }
        // Leaked on purpose: a buffered read that a kernel worker still carries out copies into it.
        _ = unsafe Unmanaged.passRetained(buffers)
        inFlight = 0
    }

    /// Submits what is queued and waits, in one system call. Returns a count or a negated errno.
    private func enter(wait wanted: UInt32, _ timeoutNanoseconds: Int64?) -> Int32 {
        // A negative time is no error here to the kernel, and one below -292 years (`.min`)
        // overflows there into a wait that never ends.
        unsafe ringmirror_ring_enter(ring, wanted, timeoutNanoseconds.map { max(0, $0) } ?? -1)
    }

    /// The submission entry of a request, for the flight with this index.
    private mutating func prepared(_ request: Request, _ index: Int) -> ringmirror_entry {
        var entry = ringmirror_entry()
        entry.operation = request.operation.opcode
        entry.file = -1
        entry.token = UInt64(index)
        switch request.operation {
        case .nop: return entry
        case .timeout:
            unsafe times[index] = ringmirror_time(
                seconds: request.offset / 1_000_000_000,
                nanoseconds: request.offset % 1_000_000_000)
            entry.address = UInt64(UInt(bitPattern: unsafe times + index))
            entry.length = 1
            return entry
        case .cancel:
            entry.address = cancelled(Token(bitPattern: request.offset))
            return entry
        case .read, .write, .sync, .dataSync, .punchHole, .zeroRange, .writeBack, .dropCache,
            .pollIn:
            prepareFileCall(&entry, request)
            return entry
        }
    }

    private func prepareFileCall(_ entry: inout ringmirror_entry, _ request: Request) {
        if setup.registeredFiles {
            entry.file = Int32(request.file.rawValue)
            entry.flags = ringmirror_entry_fixed_file
        } else if !files.isEmpty {
            entry.file = files[Int(request.file.rawValue)]
        }
        entry.offset = UInt64(bitPattern: request.offset)
        // Only the two cache operations reach beyond 32 bits here; to them 0 means up to the end.
        let length = UInt32(exactly: request.length) ?? 0

        switch request.operation {
        case .nop, .timeout, .cancel: preconditionFailure("not about a file")
        case .read, .write:
            let memory = unsafe buffers.address(request.bufferOffset, count: Int(request.length))
            entry.address = UInt64(UInt(bitPattern: memory))
            entry.length = length
            // The slab is buffer 0.
            guard setup.registeredBuffers else { return }
            entry.operation =
                request.operation == .read ? ringmirror_op_read_fixed : ringmirror_op_write_fixed
        case .sync: entry.offset = 0
        case .dataSync:
            entry.offset = 0
            entry.options = ringmirror_sync_data
        case .punchHole, .zeroRange:
            // The mode is where others have their length, and the length where they have memory.
            entry.address = UInt64(bitPattern: request.length)
            entry.length = UInt32(
                request.operation == .punchHole ? ringmirror_punch_hole : ringmirror_zero_range)
        case .writeBack:
            entry.length = length
            entry.options = ringmirror_write_back_all
        case .dropCache:
            entry.length = length
            entry.options = UInt32(POSIX_FADV_DONTNEED)
        case .pollIn:
            entry.offset = 0
            entry.options = UInt32(POLLIN)
        }
    }
}

extension Request.Operation {
    /// The kernel's number for the operation.
    var opcode: UInt8 {
        switch self {
        case .nop: ringmirror_op_nop
        case .read: ringmirror_op_read
        case .write: ringmirror_op_write
        case .sync, .dataSync: ringmirror_op_sync
        case .punchHole, .zeroRange: ringmirror_op_fallocate
        case .writeBack: ringmirror_op_write_back
        case .dropCache: ringmirror_op_advise
        case .pollIn: ringmirror_op_poll
        case .timeout: ringmirror_op_timeout
        case .cancel: ringmirror_op_cancel
        }
    }
}
