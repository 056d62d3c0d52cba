@testable import Ring

/// Every way in which requests can be carried out. What holds for one holds for all.
enum QueueKind: String, CaseIterable, Sendable {
    case uring, threads
    /// Where no thread can be made: the queue's owner does it all.
    case withoutThreads
}

/// A queue of any kind.
struct TestQueue: ~Copyable, RequestQueue {
    private var ring: Ring?
    private var threads: ThreadQueue?
    let buffers: BufferSlab
    let depth: Int

    init(_ kind: QueueKind, depth: Int, files: [CInt], buffers: BufferSlab) throws(RingError) {
        self.buffers = buffers
        self.depth = depth
        switch kind {
        case .uring: ring = try Ring(depth: depth, files: files, buffers: buffers)
        case .threads: threads = try ThreadQueue(depth: depth, files: files, buffers: buffers)
        case .withoutThreads:
            threads = try ThreadQueue(
                depth: depth, files: files, buffers: buffers, threadsMax: 0
            ) { $0.carryOut(on: $1, $2) }
        }
    }

    /// Nil for threads.
    var setup: RingSetup? {
        switch ring {
        case .some(let ring): ring.setup
        case nil: nil
        }
    }

    var inFlight: Int {
        switch ring {
        case .some(let ring): ring.inFlight
        case nil:
            switch threads {
            case .some(let threads): threads.inFlight
            case nil: 0
            }
        }
    }

    var statistics: QueueStatistics {
        switch ring {
        case .some(let ring): ring.statistics
        case nil:
            switch threads {
            case .some(let threads): threads.statistics
            case nil: QueueStatistics()
            }
        }
    }

    func supports(_ operation: Request.Operation) -> Bool {
        switch ring {
        case .some(let ring): ring.supports(operation)
        case nil:
            switch threads {
            case .some(let threads): threads.supports(operation)
            case nil: false
            }
        }
    }

    mutating func enqueue(_ request: Request, token: Token) {
        ring?.enqueue(request, token: token)
        threads?.enqueue(request, token: token)
    }

    mutating func submitAndWait(minimum: Int, timeoutNanoseconds: Int64?) throws(RingError) {
        try ring?.submitAndWait(minimum: minimum, timeoutNanoseconds: timeoutNanoseconds)
        try threads?.submitAndWait(minimum: minimum, timeoutNanoseconds: timeoutNanoseconds)
    }

    mutating func forsake() {
        ring?.forsake()
        threads?.forsake()
    }

    mutating func nextCompletion() -> Completion? {
        ring?.nextCompletion() ?? threads?.nextCompletion()
    }
}
