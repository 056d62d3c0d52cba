internal import CLiburing
internal import Glibc

/// One io_uring, driven by the thread that created it.
///
/// Invariant: `inFlight` counts requests that were enqueued and whose completions were not yet
/// taken; it never exceeds `depth`, and the completion queue has room for twice as many, so it
/// can't overflow.
@safe public struct Ring: ~Copyable, RequestQueue {
    // Set at creation, never changed.

    /// On the heap: the address must not move, and there are no exclusivity checks on it.
    private let ring: UnsafeMutablePointer<io_uring>
    /// What a timeout request points to until it is submitted, one for each submission entry.
    private let timespecs: UnsafeMutablePointer<__kernel_timespec>
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
        unsafe timespecs = .allocate(capacity: Int(made.ring.pointee.sq.ring_entries))
        let queue = unsafe made.ring.pointee.cq
        unsafe completionRing = CompletionRing(
            head: queue.khead, tail: queue.ktail, mask: queue.ring_mask, entries: queue.cqes)
    }

    deinit {
        precondition(inFlight == 0, "the kernel still holds the memory of \(inFlight) requests")
        // The kernel takes a ring down in the background. Files that are still registered then stay
        // open, with their claims and locks, for some time after the process has ended.
        if setup.registeredFiles { unsafe io_uring_unregister_files(ring) }
        unsafe io_uring_queue_exit(ring)
        unsafe ring.deallocate()
        unsafe timespecs.deallocate()
    }

    public func supports(_ operation: Request.Operation) -> Bool {
        supportedOperations & (1 << operation.opcode) != 0
    }

    public mutating func enqueue(_ request: Request, token: Token) {
        precondition(inFlight < depth, "more requests than the ring was made for")
        // The submission queue has at least `depth` entries, so an entry is free.
        guard let entry = unsafe io_uring_get_sqe(ring) else {
            preconditionFailure("the submission queue is full with \(inFlight) requests in flight")
        }
        let index = free.removeLast()
        flights[index] = Flight(request: request, token: token, isInFlight: true)
        unsafe prepare(entry, request)
        unsafe entry.pointee.user_data = UInt64(index)
        inFlight += 1
    }

    public mutating func submitAndWait(
        minimum: Int, timeoutNanoseconds: Int64?
    ) throws(RingError) {
        let wanted = UInt32(min(minimum, inFlight))
        var refusals = 0
        while true {
            let unsubmitted = unsafe io_uring_sq_ready(ring)
            // Nothing wanted means a look, and the kernel has to be asked for that, too: with
            // deferred task running, completions come only while this thread is in the kernel.
            let enough = wanted == 0 && inFlight > 0 ? 1 : wanted
            if unsubmitted == 0 && completionRing.ready >= enough { return }
            let result = enter(wait: wanted, timeoutNanoseconds)
            statistics.enters &+= 1
            let left = unsafe io_uring_sq_ready(ring)
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
        guard wanted > 0 else { return unsafe io_uring_submit_and_get_events(ring) }
        guard let timeoutNanoseconds else { return unsafe io_uring_submit_and_wait(ring, wanted) }
        // A negative time is no error here to the kernel, and one below -292 years (`.min`)
        // overflows there into a wait that never ends.
        var limit = Self.timespec(max(0, timeoutNanoseconds))
        var first: UnsafeMutablePointer<io_uring_cqe>?
        return unsafe io_uring_submit_and_wait_timeout(ring, &first, wanted, &limit, nil)
    }

    private static func timespec(_ nanoseconds: Int64) -> __kernel_timespec {
        __kernel_timespec(
            tv_sec: nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }

    /// Fills in a submission entry.
    private mutating func prepare(_ entry: UnsafeMutablePointer<io_uring_sqe>, _ request: Request) {
        let file =
            setup.registeredFiles
            ? CInt(request.file.rawValue)
            : (files.isEmpty ? -1 : files[Int(request.file.rawValue)])
        // Only the two cache operations reach beyond 32 bits here; to them 0 means up to the end.
        let length = UInt32(exactly: request.length) ?? 0
        let offset = UInt64(bitPattern: request.offset)

        switch request.operation {
        case .nop:
            unsafe io_uring_prep_nop(entry)
            return
        case .timeout:
            // A slot of its own for each entry: the kernel reads the time when the entry is
            // submitted.
            let slot = unsafe timespecs + (entry - ring.pointee.sq.sqes)
            unsafe slot.initialize(to: Self.timespec(request.offset))
            unsafe io_uring_prep_timeout(entry, slot, 0, 0)
            return
        case .cancel:
            unsafe io_uring_prep_cancel64(entry, cancelled(Token(offset)), 0)
            return
        case .read, .write:
            let memory = unsafe buffers.address(request.bufferOffset, count: Int(request.length))
            unsafe prepareTransfer(entry, request, file, memory, length, offset)
        case .sync:
            unsafe io_uring_prep_fsync(entry, file, 0)
        case .dataSync:
            unsafe io_uring_prep_fsync(entry, file, UInt32(IORING_FSYNC_DATASYNC))
        case .punchHole:
            let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            unsafe io_uring_prep_fallocate(
                entry, file, mode, off_t(request.offset), off_t(request.length))
        case .zeroRange:
            let mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
            unsafe io_uring_prep_fallocate(
                entry, file, mode, off_t(request.offset), off_t(request.length))
        case .writeBack:
            let flags =
                SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
            unsafe io_uring_prep_sync_file_range(
                entry, file, length, offset, CInt(bitPattern: UInt32(flags)))
        case .dropCache:
            unsafe io_uring_prep_fadvise(
                entry, file, offset, off_t(length), POSIX_FADV_DONTNEED)
        case .pollIn:
            unsafe io_uring_prep_poll_add(entry, file, UInt32(POLLIN))
        }
        if setup.registeredFiles {
            unsafe entry.pointee.flags |= UInt8(ringmirror_sqe_fixed_file)
        }
    }

    private func prepareTransfer(
        _ entry: UnsafeMutablePointer<io_uring_sqe>, _ request: Request, _ file: CInt,
        _ memory: UnsafeMutableRawPointer, _ length: UInt32, _ offset: UInt64
    ) {
        switch (request.operation, setup.registeredBuffers) {
        case (.read, true): unsafe io_uring_prep_read_fixed(entry, file, memory, length, offset, 0)
        case (.read, false): unsafe io_uring_prep_read(entry, file, memory, length, offset)
        case (_, true): unsafe io_uring_prep_write_fixed(entry, file, memory, length, offset, 0)
        case (_, false): unsafe io_uring_prep_write(entry, file, memory, length, offset)
        }
    }
}

extension Request.Operation {
    /// The kernel's number for the operation.
    var opcode: UInt64 {
        let code =
            switch self {
            case .nop: IORING_OP_NOP
            case .read: IORING_OP_READ
            case .write: IORING_OP_WRITE
            case .sync, .dataSync: IORING_OP_FSYNC
            case .punchHole, .zeroRange: IORING_OP_FALLOCATE
            case .writeBack: IORING_OP_SYNC_FILE_RANGE
            case .dropCache: IORING_OP_FADVISE
            case .pollIn: IORING_OP_POLL_ADD
            case .timeout: IORING_OP_TIMEOUT
            case .cancel: IORING_OP_ASYNC_CANCEL
            }
        return UInt64(code.rawValue)
    }
}
