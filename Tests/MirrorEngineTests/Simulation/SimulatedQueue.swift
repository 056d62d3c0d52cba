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
    private let unpacker: SimulatedUnpacker?

    // Owned by the queue's thread.

    private(set) var inFlight = 0
    private(set) var statistics = QueueStatistics()
    private var random: SeededGenerator
    private var queued: [Pending] = []
    private var running: [Pending] = []
    private var ready: [Completion] = []
    private var isForsaken = false

    init(
        kernel: SimulatedKernel, depth: Int, byteCount: Int, unpacker: (any Unpacker)? = nil
    ) throws(RingError) {
        self.unpacker = unpacker as? SimulatedUnpacker
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
        unpacker?.advance()
        guard kernel.behaviour.isShuffling else {
            for index in completable() { complete(running[index]) }
            for index in completable().reversed() { running.remove(at: index) }
            return
        }
        // A timeout may pass without anything having happened.
        if timeoutNanoseconds != nil && random.chance(percent: 5) { return }
        if ready.isEmpty && completable().isEmpty {
            kernel.expect(
                running.isEmpty || unpacker?.isBusy == true, "a poll that nothing will end")
            unpacker?.work()
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
        let isReadable = unpacker?.isReadable == true
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
        while unpacker?.isBusy == true, random.chance(percent: 50) { unpacker?.work() }
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
        let request = pending.request
        if request.operation == .pollIn { return CInt(POLLIN) }
        guard let disk = file(pending)?.disk else { return -EBADF }
        if kernel.behaviour.stuck.contains(request.operation) { return -EAGAIN }
        if random.chance(percent: kernel.behaviour.transientPercent) {
            return random.chance(percent: 50) ? -EAGAIN : -EINTR
        }
        let offset = Int(request.offset)
        switch request.operation {
        case .read: return read(disk, offset, shortened(request))
        case .write: return write(disk, pending.id, offset, shortened(request))
        case .punchHole, .zeroRange:
            return disk.zero(
                pending.id, at: offset, count: Int(request.length),
                isPunch: request.operation == .punchHole)
        case .sync, .dataSync: return disk.flush(upTo: pending.flushMark)
        case .writeBack, .dropCache: return random.chance(percent: 20) ? -EINVAL : 0
        case .nop, .pollIn, .timeout, .cancel: return -EINVAL
        }
    }

    /// The memory that a read or write really uses.
    private mutating func shortened(_ request: Request) -> Range<Int> {
        var count = Int(request.length)
        if count > 1 && random.chance(percent: kernel.behaviour.shortPercent) {
            count = Int.random(in: 1..<count, using: &random)
        }
        return request.bufferOffset..<(request.bufferOffset + count)
    }

    private mutating func read(
        _ disk: SimulatedDisk, _ offset: Int, _ memory: Range<Int>
    ) -> Int32 {
        var random = random
        let result = buffers.withMutableBytes(memory) { span in
            span.withUnsafeMutableBytes { disk.read(at: offset, into: $0, using: &random) }
        }
        self.random = random
        return result
    }

    private mutating func write(
        _ disk: SimulatedDisk, _ id: UInt64, _ offset: Int, _ memory: Range<Int>
    ) -> Int32 {
        var random = random
        let result = buffers.withBytes(memory) { span in
            span.withUnsafeBytes { disk.write(id, at: offset, $0, using: &random) }
        }
        self.random = random
        return result
    }

    private func scribble(_ request: Request) {
        let memory = request.bufferOffset..<(request.bufferOffset + Int(request.length))
        buffers.withMutableBytes(memory) { span in
            span.withUnsafeMutableBytes { _ = memset($0.baseAddress!, 0xDD, $0.count) }
        }
    }

    private func file(_ pending: Pending) -> SimulatedFile? {
        let index = Int(pending.request.file.rawValue)
        return kernel.files.indices.contains(index) ? kernel.files[index] : nil
    }

    // MARK: the contract

    private func check(_ pending: Pending) {
        let request = pending.request
        if request.operation == .pollIn {
            kernel.expect(
                Int(request.file.rawValue) == kernel.files.count && unpacker != nil,
                "a poll of something else than the unpacker")
            for other in running + queued where other.request.operation == .pollIn {
                kernel.report("two polls of the unpacker, \(other.id) and \(pending.id)")
            }
            return
        }
        guard let file = file(pending) else {
            kernel.report("\(request.operation) on file \(request.file), which there is not")
            return
        }
        switch request.operation {
        case .read, .write: checkTransfer(request, file)
        case .punchHole, .zeroRange: checkZeroing(request, file)
        case .dataSync:
            // A checkpoint's, which claims only what was written before it.
            kernel.expect(file.isTarget, "the source was flushed")
        case .sync:
            kernel.expect(file.isTarget, "the source was flushed")
            kernel.expect(!file.disk.isChanging, "a flush was submitted before all writes ended")
        case .writeBack, .dropCache: break
        default: kernel.report("\(request.operation) was not expected")
        }
        if request.changes {
            let range = Int(request.offset)..<Int(request.offset + request.length)
            kernel.expect(file.isTarget, "\(request.operation) on the source")
            kernel.expect(
                file.disk.beginChange(pending.id, range),
                "\(request.operation) at \(range) while another request changes some of it")
        }
    }

    private func checkTransfer(_ request: Request, _ file: SimulatedFile) {
        let what = "\(request.operation) \(request.offset)+\(request.length)"
        let alignment = Int64(file.alignment)
        kernel.expect(
            request.offset % alignment == 0 && request.length % alignment == 0,
            "\(what) is off the alignment of \(alignment)")
        kernel.expect(
            alignment == 1 || request.bufferOffset % 512 == 0,
            "\(what) has its memory at \(request.bufferOffset), off the sector")
        kernel.expect(
            request.offset >= 0 && request.length > 0 && request.length <= kernel.requestSize,
            "\(what) is not within a request's limits")
        let memory = request.bufferOffset..<(request.bufferOffset + Int(request.length))
        kernel.expect(
            memory.lowerBound >= 0 && memory.upperBound <= kernel.zeroArea.upperBound,
            "\(what) has its memory at \(memory), outside the slab")
        let isRead = request.operation == .read
        kernel.expect(
            !isRead || !memory.overlaps(kernel.zeroArea), "\(what) spoils the zero area")
        for other in unpacker?.memory ?? [] where other.overlaps(memory) {
            kernel.report("\(what) uses memory that is being decompressed")
        }
        for other in running + queued where other.request.operation.movesBytes {
            let start = other.request.bufferOffset
            guard memory.overlaps(start..<(start + Int(other.request.length))) else { continue }
            kernel.expect(
                !isRead && other.request.operation == .write,
                "\(what) shares memory with a \(other.request.operation) in flight")
        }
    }

    private func checkZeroing(_ request: Request, _ file: SimulatedFile) {
        kernel.expect(!file.isImage, "\(request.operation) in an image")
        let block = Int64(file.blockSize)
        kernel.expect(
            request.offset % block == 0 && request.length % block == 0 && request.length > 0,
            "\(request.operation) \(request.offset)+\(request.length) is off the block of \(block)")
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
