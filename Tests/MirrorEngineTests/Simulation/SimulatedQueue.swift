import Glibc
import MirrorEngine
import Ring
import TestSupport

/// A request queue over simulated disks, which holds its user to the queue's contract.
///
/// A request is carried out when it is submitted, or when it completes, or when the queue is
/// forsaken: its memory must be left alone in between. What is wrong is reported to the kernel, not
/// thrown, so that a run goes on and the test says all of it.
struct SimulatedQueue: ~Copyable, RequestQueue {
    private struct Pending {
        let id: UInt64
        let token: Token
        let request: Request
        /// What it came to, once it was carried out.
        var result: Int32?
        var flushMark: UInt64 = 0
    }

    // Set at creation, never changed.

    let buffers: BufferSlab
    let depth: Int
    private let kernel: SimulatedKernel
    private let decompression: SimulatedDecompression?

    // Owned by the queue's thread.

    private(set) var inFlight = 0
    private(set) var statistics = QueueStatistics()
    private var random: SeededGenerator
    private var queued: [Pending] = []
    private var running: [Pending] = []
    private var ready: [Completion] = []
    private var isForsaken = false

    init(
        kernel: SimulatedKernel, depth: Int, byteCount: Int,
        decompression: (any DecompressionDriver)? = nil
    ) throws(RingError) {
        self.decompression = decompression as? SimulatedDecompression
        let number = try kernel.makeRing()
        buffers = try BufferSlab(byteCount: byteCount)
        self.depth = depth
        self.kernel = kernel
        random = SeededGenerator(seed: kernel.behaviour.seed &+ UInt64(number) &* 0x9E37)
    }

    deinit {
        kernel.expect(inFlight == 0, "a queue was destroyed with \(inFlight) requests in flight")
    }

    func supports(_ operation: Request.Operation) -> Bool { true }

    mutating func enqueue(_ request: Request, token: Token) {
        kernel.expect(!isForsaken, "\(request.operation) on a queue that was forsaken")
        kernel.expect(inFlight < depth, "more requests than the queue has room for")
        let pending = Pending(id: kernel.identify(), token: token, request: request)
        kernel.record(request)
        check(pending)
        queued.append(pending)
        inFlight += 1
    }

    mutating func submitAndWait(minimum: Int, timeoutNanoseconds: Int64?) throws(RingError) {
        statistics.enters += 1
        kernel.expect(!isForsaken, "waiting on a queue that was forsaken")
        try kernel.step()
        statistics.submissions += UInt64(queued.count)
        for pending in queued { running.append(submit(pending)) }
        queued.removeAll()
        decompression?.advance()
        guard kernel.behaviour.isShuffling else {
            for index in completable() { complete(running[index]) }
            for index in completable().reversed() { running.remove(at: index) }
            return
        }
        // A timeout may pass without anything having happened.
        if timeoutNanoseconds != nil && random.chance(percent: 5) { return }
        if ready.isEmpty && completable().isEmpty {
            kernel.expect(
                running.isEmpty || decompression?.isBusy == true, "a poll that nothing will end")
            decompression?.work()
        }
        var able = completable()
        let lowest = ready.isEmpty ? min(minimum, able.count) : 0
        able.shuffle(using: &random)
        let chosen = able.prefix(Int.random(in: lowest...able.count, using: &random))
        for index in chosen { complete(running[index]) }
        for index in chosen.sorted(by: >) { running.remove(at: index) }
    }

    /// Which requests can complete: a poll when there is something to see, all else at any time.
    private func completable() -> [Int] {
        let isReadable = decompression?.isReadable == true
        return running.indices.filter { [running] in
            isReadable || running[$0].request.operation != .pollIn
        }
    }

    mutating func forsake() {
        guard inFlight > 0 else {
            isForsaken = true
            return
        }
        // The kernel may carry out what it has, at any time.
        for pending in running + queued {
            if pending.result == nil && random.chance(percent: 50) { _ = perform(pending) }
            file(pending)?.disk.forget(pending.id)
        }
        while decompression?.isBusy == true, random.chance(percent: 50) { decompression?.work() }
        queued.removeAll()
        running.removeAll()
        ready.removeAll()
        inFlight = 0
        isForsaken = true
    }

    mutating func nextCompletion() -> Completion? {
        guard !ready.isEmpty else { return nil }
        inFlight -= 1
        statistics.completions += 1
        return ready.removeFirst()
    }

    // MARK: the life of a request

    private mutating func submit(_ pending: Pending) -> Pending {
        var pending = pending
        if pending.request.operation == .sync || pending.request.operation == .dataSync {
            pending.flushMark = file(pending)?.disk.flushMark ?? 0
        }
        if pending.request.operation == .read {
            // Whoever looks before the completion sees this.
            scribble(pending.request)
        }
        if pending.request.operation != .pollIn && random.chance(percent: 50) {
            pending.result = perform(pending)
        }
        return pending
    }

    private mutating func complete(_ pending: Pending) {
        let result = pending.result ?? perform(pending)
        if pending.request.changes { file(pending)?.disk.endChange(pending.id) }
        ready.append(Completion(token: pending.token, result: result))
    }

    private mutating func perform(_ pending: Pending) -> Int32 {
        if pending.request.operation == .pollIn { return CInt(POLLIN) }
        return kernel.carryOut(
            pending.request, pending.id, flushMark: pending.flushMark, buffers, &random)
    }

    private func scribble(_ request: Request) {
        let memory = request.bufferOffset..<(request.bufferOffset + Int(request.length))
        buffers.withMutableBytes(memory) { span in
            span.withUnsafeMutableBytes { _ = memset($0.baseAddress!, 0xDD, $0.count) }
        }
    }

    private func file(_ pending: Pending) -> SimulatedFile? { kernel.file(of: pending.request) }

    // MARK: the contract

    private func check(_ pending: Pending) {
        let request = pending.request
        if request.operation == .pollIn {
            kernel.expect(
                Int(request.file.rawValue) == kernel.files.count && decompression != nil,
                "a poll of something else than the decompression driver")
            for other in running + queued where other.request.operation == .pollIn {
                kernel.report(
                    "two polls of the decompression driver, \(other.id) and \(pending.id)")
            }
            return
        }
        kernel.check(request, pending.id)
        if request.operation.movesBytes { checkMemory(request) }
    }

    private func checkMemory(_ request: Request) {
        let what = "\(request.operation) \(request.offset)+\(request.length)"
        let memory = request.bufferOffset..<(request.bufferOffset + Int(request.length))
        for other in decompression?.memory ?? [] where other.overlaps(memory) {
            kernel.report("\(what) uses memory that is being decompressed")
        }
        for other in running + queued where other.request.operation.movesBytes {
            let start = other.request.bufferOffset
            guard memory.overlaps(start..<(start + Int(other.request.length))) else { continue }
            kernel.expect(
                request.operation == .write && other.request.operation == .write,
                "\(what) shares memory with a \(other.request.operation) in flight")
        }
    }
}

extension Request {
    /// Whether it changes the bytes of a file.
    var changes: Bool {
        operation == .write || operation == .punchHole || operation == .zeroRange
    }
}

extension Request.Operation {
    var movesBytes: Bool { self == .read || self == .write }
}
