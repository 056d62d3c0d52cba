internal import Glibc

/// The threads that carry out the requests of one `ThreadQueue`, and what they share with its
/// owner.
///
/// Threads are made when there is more to do than there are idle ones. Where the system gives none,
/// the owner carries the requests out itself.
final class RequestCrew: @unchecked Sendable {
    struct Job {
        let request: Request
        let token: Token
    }

    /// Carries one request out. Tests put faults here.
    typealias Carrier = @Sendable (Request, CInt, BufferSlab) -> Int32

    /// Little more than the frame of a system call is on these stacks.
    private static let stackBytes = 256 << 10

    // Set at creation, never changed.

    private let files: [CInt]
    private let buffers: BufferSlab
    private let threadsMax: Int
    private let carrier: Carrier
    private let monitor = Monitor()
    /// Rung when the completions are there for which the owner sleeps.
    let bell: Doorbell

    // Protected by the monitor.

    private var waiting: FixedQueue<Job>
    private var running: [Token] = []
    private var ended: FixedQueue<Completion>
    private var idle = 0
    /// How many completions the owner sleeps for; 0 while it is awake.
    private var awaited = 0
    private var isClosing = false

    // The owner's.

    private var threads: [WorkerThread] = []
    /// The system had no thread to give, and isn't asked again.
    private var isFull = false

    init(
        depth: Int, threadsMax: Int, files: [CInt], buffers: BufferSlab, carrier: @escaping Carrier
    ) throws(RingError) {
        bell = try Doorbell()
        self.files = files
        self.buffers = buffers
        self.threadsMax = threadsMax
        self.carrier = carrier
        waiting = FixedQueue(capacity: depth)
        ended = FixedQueue(capacity: depth)
        running.reserveCapacity(depth)
        threads.reserveCapacity(threadsMax)
    }

    /// Whether the owner has to carry requests out itself.
    var isAlone: Bool { threads.isEmpty }

    // MARK: for the owner

    /// Takes what was staged, and has as many threads awake as there is work for.
    func hand(_ staged: inout FixedQueue<Job>) {
        guard !staged.isEmpty else { return }
        let missing = monitor.withLock {
            while let job = staged.popFirst() { waiting.append(job) }
            for _ in 0..<min(waiting.count, idle) { monitor.signal() }
            return waiting.count - idle
        }
        if missing > 0 { start(missing) }
    }

    private func start(_ wanted: Int) {
        for _ in 0..<min(wanted, threadsMax - threads.count) where !isFull {
            if let thread = WorkerThread(stackBytes: Self.stackBytes, { [self] in work() }) {
                threads.append(thread)
            } else {
                isFull = true
            }
        }
    }

    /// Moves what has ended to `completions`. If that makes fewer than `wanted`, the bell rings
    /// when there are as many.
    func collect(_ completions: inout FixedQueue<Completion>, awaiting wanted: Int) {
        monitor.withLock {
            while let completion = ended.popFirst() { completions.append(completion) }
            awaited = max(0, wanted - completions.count)
        }
    }

    /// Carries one request out on the owner's thread; false if there was none.
    func carryOutOne() -> Bool {
        monitor.lock()
        defer { monitor.unlock() }
        return carryOutNext()
    }

    enum Withdrawal { case withdrawn, running, unknown }

    /// Takes back the request with this token, if no thread has it yet.
    func withdraw(_ token: Token) -> Withdrawal {
        monitor.withLock {
            if waiting.remove(where: { $0.token == token }) != nil { return .withdrawn }
            return running.contains(token) ? .running : .unknown
        }
    }

    /// Drops what no thread has begun, waits for what they have, and ends them. Afterwards neither
    /// the files nor the memory are touched any more.
    func close() {
        monitor.withLock {
            isClosing = true
            while waiting.popFirst() != nil {}
            monitor.broadcast()
        }
        for thread in threads { thread.join() }
        threads.removeAll()
    }

    // MARK: a thread

    private func work() {
        monitor.lock()
        defer { monitor.unlock() }
        while !isClosing {
            if carryOutNext() { continue }
            idle += 1
            monitor.wait()
            idle -= 1
        }
    }

    /// Takes the next request and carries it out; false if there is none.
    ///
    /// Precondition: the lock is held. It is not held during the request.
    private func carryOutNext() -> Bool {
        guard let job = waiting.popFirst() else { return false }
        running.append(job.token)
        monitor.unlock()
        let result = carryOut(job.request)
        monitor.lock()
        if let index = running.firstIndex(of: job.token) { running.remove(at: index) }
        ended.append(Completion(token: job.token, result: result))
        if awaited > 0 && ended.count >= awaited {
            awaited = 0
            bell.ring()
        }
        return true
    }

    private func carryOut(_ request: Request) -> Int32 {
        guard let descriptor = descriptor(of: request.file) else { return -EBADF }
        return carrier(request, descriptor, buffers)
    }

    func descriptor(of file: FileIndex) -> CInt? {
        Int(file.rawValue) < files.count ? files[Int(file.rawValue)] : nil
    }
}
