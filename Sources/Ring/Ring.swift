internal import CLiburing
internal import CLinux
internal import Glibc

/// A `RequestQueue` by io_uring, driven by the thread that created it: one ring over a fixed list
/// of files and one slab.
@safe public struct Ring: ~Copyable, RequestQueue {
    // Set at creation, never changed.

    /// What a timeout request points to until it is submitted, one for each flight.
    private let times: UnsafeMutablePointer<ringmirror_time>
    private let files: [CInt]
    /// The memory of the requests.
    public let buffers: BufferSlab
    /// What the kernel granted.
    public let setup: RingSetup

    // Owned by the ring's thread.

    /// Knows a request by its position among the flights.
    private var core: RingCore
    private var flights: [Flight]
    private var free: [Int]
    /// One for each operation on each file.
    private var supplies: [WorkerSupply]
    private static let operations = Int(Request.Operation.cancel.rawValue) + 1

    private struct Flight {
        var request = Request.nop
        var token: Token = 0
        var isInFlight = false
        /// Somebody asked for the request to be cancelled.
        var isCancelled = false
        /// The kernel got a nop in its place: this thread does it when that completes.
        var isCarriedOut = false
    }

    /// Makes a ring for up to `depth` requests in flight over `files`, whose positions in the array
    /// are the `FileIndex`es of requests. The files stay the caller's and must stay open while the
    /// ring lives.
    public init(depth: Int, files: [CInt], buffers: BufferSlab) throws(RingError) {
        var core = try RingCore(RingOptions(depth: depth))
        let registeredFiles = core.register(files: files)
        let refusal = core.register(buffers)
        setup = RingSetup(
            registeredBuffers: refusal == nil, plainBuffersReason: refusal,
            registeredFiles: registeredFiles, deferredTaskRun: core.isDeferred)
        self.core = core
        self.files = files
        self.buffers = buffers
        flights = Array(repeating: Flight(), count: depth)
        free = Array((0..<depth).reversed())
        supplies = Array(
            repeating: WorkerSupply(), count: files.count * Self.operations)
        unsafe times = .allocate(capacity: depth)
        unsafe times.initialize(repeating: ringmirror_time(), count: depth)
    }

    deinit {
        // The core looks as well, but may do so after the slab has gone.
        precondition(inFlight == 0, "the kernel still holds the memory of \(inFlight) requests")
        unsafe times.deallocate()
    }

    /// How many requests may be in flight at once.
    public var depth: Int { core.depth }

    /// Requests that were enqueued and not yet handed back.
    public var inFlight: Int { core.inFlight }

    /// What the ring did so far.
    public var statistics: QueueStatistics { core.statistics }

    /// Whether this kernel knows the operation.
    public func supports(_ operation: Request.Operation) -> Bool {
        core.supports(operation: operation.opcode)
    }

    /// Takes a request; the kernel gets it with the next `submitAndWait`.
    public mutating func enqueue(_ request: Request, token: Token) {
        precondition(inFlight < depth, "more requests than the ring was made for")
        let index = free.removeLast()
        let isCarriedOut = supply(request).map { !supplies[$0].takesNext() } ?? false
        flights[index] = Flight(
            request: request, token: token, isInFlight: true, isCarriedOut: isCarriedOut)
        core.enqueue(entry(isCarriedOut ? .nop : request, index), token: Token(index))
    }

    /// Submits what was enqueued, and waits, in one system call.
    public mutating func submitAndWait(
        minimum: Int, timeoutNanoseconds: Int64?
    ) throws(RingError) {
        try core.submitAndWait(minimum: minimum, timeoutNanoseconds: timeoutNanoseconds)
    }

    /// The oldest completion that is there.
    public mutating func nextCompletion() -> Completion? {
        guard let completion = core.nextCompletion() else { return nil }
        let index = Int(completion.token)
        let flight = flights[index]
        precondition(flight.isInFlight, "the kernel completed a request twice")
        flights[index].isInFlight = false
        free.append(index)
        return Completion(token: flight.token, result: result(of: flight, completion.result))
    }

    /// The result of a request to whose entry the kernel has given this one.
    ///
    /// What the kernel needs a worker thread for (flushes, holes, buffered files) it cancels where
    /// it can't start one: below a limit on processes (`ulimit -u`, pids.max), or while this thread
    /// gets many signals. It has to be done all the same: here, while everything else waits.
    private mutating func result(of flight: Flight, _ result: Int32) -> Int32 {
        guard let supply = supply(flight.request) else { return result }
        let isRefused = result == -ECANCELED && !flight.isCancelled
        if !flight.isCarriedOut {
            if isRefused { supplies[supply].refused() } else { supplies[supply].served() }
        }
        guard isRefused || flight.isCarriedOut && result >= 0 else { return result }
        return flight.request.carryOut(
            on: files[Int(flight.request.file.rawValue)], buffers)
    }

    /// The position of the supply of workers that the request draws on; nil where this thread can't
    /// do it in the kernel's place.
    private func supply(_ request: Request) -> Int? {
        guard request.isFileCall, Int(request.file.rawValue) < files.count else { return nil }
        return Int(request.file.rawValue) * Self.operations
            + Int(request.operation.rawValue)
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

    /// Gives up on what is in flight. The slab is leaked on purpose: a buffered read that a kernel
    /// worker still carries out copies into it.
    public mutating func forsake() {
        guard inFlight > 0 else { return }
        _ = unsafe Unmanaged.passRetained(buffers)
        core.forsake()
    }

    /// The submission entry of a request, for the flight with this index.
    private mutating func entry(_ request: Request, _ index: Int) -> RingEntry {
        var entry = RingEntry(operation: request.operation.opcode)
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

    private func prepareFileCall(_ entry: inout RingEntry, _ request: Request) {
        if setup.registeredFiles {
            entry.file = Int32(request.file.rawValue)
            entry.isRegisteredFile = true
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
