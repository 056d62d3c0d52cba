/// What works beside a ring and ends in the ring's loop: threads that decompress, or a connection.
/// The ring polls its descriptor, so that one wait serves them all.
///
/// It belongs to one queue, and is called by the queue's thread only.
package protocol QueueDriver: AnyObject {
    /// Readable when `service` has something to do; so whenever `nextCompletion` would have
    /// something new. It stays the same, and open, as long as the driver lives.
    var descriptor: CInt { get }

    /// What was started and not yet handed back by `nextCompletion`.
    var inFlight: Int { get }

    /// Does what can be done without waiting, now that the descriptor was seen to be readable.
    func service()

    /// The next of what had ended when `service` was called last; nil if there is none.
    func nextCompletion() -> Completion?

    /// The queue is given up: `inFlight` is 0 from now on, and nothing is handed back. Memory that
    /// may still be used stays allocated for as long.
    func forsake()
}

/// A driver that carries out requests, as a ring does for a file.
package protocol EndpointDriver: QueueDriver {
    /// Begins a request, and does not wait. It completes exactly once, by `nextCompletion`, with a
    /// count of bytes or a negated errno. An operation that the endpoint lacks completes with
    /// -EOPNOTSUPP.
    func start(_ request: Request, token: Token, _ buffers: BufferSlab)
}
