internal import CLiburing
internal import Glibc

/// One io_uring, driven by the thread that created it, in the kernel's own terms: what requests
/// mean, and whose memory they use, is for its owner to know. `Ring` is the owner that moves the
/// bytes of disks.
///
/// Invariant: `inFlight` counts entries that were enqueued and whose completions were not yet
/// taken; it never exceeds `depth`, and the completion queue has room for twice as many, so it
/// can't overflow.
@safe package struct RingCore: ~Copyable {
    // Set at creation, never changed.

    private let ring: OpaquePointer
    /// How many entries may be in flight at once.
    package let depth: Int
    /// Bytes of a submission entry: 64 or 128.
    package let entryBytes: Int
    /// Completions are processed only when the ring's thread asks for them, which saves wake-ups.
    package let isDeferred: Bool
    private let operations: UInt64

    // Owned by the ring's thread.

    private var completions: CompletionRing
    private var hasRegisteredFiles = false
    /// Entries that were enqueued and whose completions were not yet taken.
    package private(set) var inFlight = 0
    /// What the ring did so far.
    package private(set) var statistics = QueueStatistics()

    /// Makes a ring.
    ///
    /// - Throws: why it can't be had; `.systemCall` with EINVAL also where the kernel has no wide
    ///   entries or completions.
    package init(_ options: RingOptions) throws(RingError) {
        let made = unsafe try Self.open(options)
        unsafe ring = made.ring
        isDeferred = unsafe made.isDeferred
        depth = options.depth
        entryBytes = options.hasWideEntries ? 128 : 64
        operations = unsafe ringmirror_ring_operations(made.ring)
        let queue = unsafe ringmirror_ring_completions(made.ring)
        unsafe completions = CompletionRing(
            head: queue.head, tail: queue.tail, mask: queue.mask, entries: queue.entries,
            isWide: options.hasWideCompletions)
    }

    deinit {
        precondition(inFlight == 0, "the kernel still holds the memory of \(inFlight) requests")
        // The kernel takes a ring down in the background. Files that are still registered then stay
        // open, with their claims and locks, for some time after the process has ended.
        if hasRegisteredFiles { _ = unsafe ringmirror_ring_unregister_files(ring) }
        unsafe ringmirror_ring_free(ring)
    }

    /// Whether the kernel knows the operation, by its number. Where it doesn't tell (a sandbox may
    /// forbid io_uring_register), it is taken to know all.
    package func supports(operation: UInt8) -> Bool {
        operation < 64 && operations & (1 << UInt64(operation)) != 0
    }

    /// Has the kernel look the files up once instead of for each request; entries name them by
    /// their positions here. Returns whether it did. Call it once.
    mutating func register(files: [CInt]) -> Bool {
        hasRegisteredFiles =
            !files.isEmpty
            && (unsafe ringmirror_ring_register_files(ring, files, UInt32(files.count))) == 0
        return hasRegisteredFiles
    }

    /// Pins the slab as buffer 0. Returns nil, or why it could not be done.
    mutating func register(_ buffers: BufferSlab) -> String? {
        let start = unsafe buffers.address(0, count: buffers.byteCount)
        var result = unsafe ringmirror_ring_register_memory(ring, start, buffers.byteCount)
        if result == -ENOMEM {
            MemoryLock.raise(toFit: buffers.byteCount)
            result = unsafe ringmirror_ring_register_memory(ring, start, buffers.byteCount)
        }
        switch -result {
        case 0: return nil
        case ENOMEM:
            return "the memlock limit is below \(buffers.byteCount >> 20) MiB (ulimit -l); "
                + "raise it for less CPU time"
        default:
            return "registering buffers failed: \(errorText(-result))"
        }
    }

    /// Takes an entry. It goes to the kernel with the next `submitAndWait`, and what it points to
    /// must stay until its completion was taken, which brings back the token.
    ///
    /// Precondition: `inFlight < depth`.
    package mutating func enqueue(_ entry: RingEntry, token: Token) {
        let memory = unsafe nextEntry()
        unsafe entry.write(to: memory, token: token)
    }

    /// The same with the bytes of a command: up to 16, or 80 in a wide entry.
    package mutating func enqueue(
        _ entry: RingEntry, token: Token, command: borrowing RawSpan
    ) {
        let memory = unsafe nextEntry()
        unsafe entry.write(to: memory, token: token)
        unsafe RingEntry.writeCommand(command, to: memory)
    }

    /// The memory of the next entry, with whatever stood there before: all of it has to be written
    /// before anything is submitted.
    mutating func nextEntry() -> UnsafeMutableRawBufferPointer {
        precondition(inFlight < depth, "more requests than the ring was made for")
        // The submission queue has at least `depth` entries, so an entry is free.
        guard let entry = unsafe ringmirror_ring_next_entry(ring) else {
            preconditionFailure("the submission queue is full with \(inFlight) requests in flight")
        }
        inFlight += 1
        return unsafe UnsafeMutableRawBufferPointer(start: entry, count: entryBytes)
    }

    /// Submits what was enqueued and waits until at least `minimum` completions are ready, or for
    /// `timeoutNanoseconds` if that is not nil, in one system call. See `RequestQueue`.
    package mutating func submitAndWait(
        minimum: Int, timeoutNanoseconds: Int64?
    ) throws(RingError) {
        let wanted = UInt32(min(minimum, inFlight))
        // A negative time is no error here to the kernel, and one below -292 years (`.min`)
        // overflows there into a wait that never ends.
        let limit = timeoutNanoseconds.map { max(0, $0) } ?? -1
        var refusals = 0
        while true {
            let unsubmitted = unsafe ringmirror_ring_unsubmitted(ring)
            // Nothing wanted means a look, and the kernel has to be asked for that, too: with
            // deferred task running, completions come only while this thread is in the kernel.
            let enough = wanted == 0 && inFlight > 0 ? 1 : wanted
            if unsubmitted == 0 && completions.ready >= enough { return }
            let result = unsafe ringmirror_ring_enter(ring, wanted, limit)
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
                if completions.ready > 0 { return }
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

    /// The next completion that is ready, oldest first; nil if there is none.
    package mutating func nextCompletion() -> RingCompletion? {
        // What completes after `forsake` is nobody's any more.
        guard inFlight > 0, let completion = completions.next() else { return nil }
        inFlight -= 1
        statistics.completions &+= 1
        return completion
    }

    /// Gives up on what is in flight, after `submitAndWait` threw: there will be no completions.
    /// What the kernel may still write to must never be freed.
    package mutating func forsake() { inFlight = 0 }
}
