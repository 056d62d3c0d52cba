/// Where requests go to be carried out: the kernel's ring, or a simulated disk in tests.
///
/// A queue belongs to the thread that made it. Every request that was enqueued completes exactly
/// once, in any order. A queue must not be destroyed while requests are in flight.
public protocol RequestQueue: ~Copyable, SendableMetatype {
    /// The memory that requests read into and write from.
    var buffers: BufferSlab { get }

    /// How many requests may be in flight at once.
    var depth: Int { get }

    /// Requests that were enqueued and not yet handed back as completions.
    var inFlight: Int { get }

    var statistics: QueueStatistics { get }

    /// Whether the kernel knows the operation. Asking for one that it doesn't is not an error: the
    /// request completes with -EINVAL, as it would without asking.
    func supports(_ operation: Request.Operation) -> Bool

    /// Takes a request. Nothing may be submitted before the next `submitAndWait`.
    ///
    /// Precondition: `inFlight < depth`, and the request's memory is within `buffers`.
    mutating func enqueue(_ request: Request, token: Token)

    /// Submits what was enqueued and waits until at least `minimum` completions are ready, or for
    /// `timeoutNanoseconds` if that is not nil; in one system call where the queue can. It may
    /// return with fewer completions than asked for, and before the limit: a signal may end the
    /// wait.
    mutating func submitAndWait(minimum: Int, timeoutNanoseconds: Int64?) throws(RingError)

    /// Gives up on what is in flight, after `submitAndWait` threw: there will be no completions,
    /// and the memory that the kernel may still write to is never freed.
    mutating func forsake()

    /// The next completion that is ready, oldest first; nil if there is none.
    mutating func nextCompletion() -> Completion?
}

/// What a queue did since it was made.
public struct QueueStatistics: Sendable, Equatable {
    /// io_uring_enter calls.
    public var enters: UInt64 = 0
    /// Requests handed to the kernel.
    public var submissions: UInt64 = 0
    /// Completions reaped.
    public var completions: UInt64 = 0

    /// Nothing yet.
    public init() {}

    /// Adds what another queue did.
    public static func += (total: inout QueueStatistics, part: QueueStatistics) {
        total.enters &+= part.enters
        total.submissions &+= part.submissions
        total.completions &+= part.completions
    }
}
