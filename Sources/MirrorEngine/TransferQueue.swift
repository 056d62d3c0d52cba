package import Ring

/// Carries transfers out over a request queue, and does for them what every I/O needs: going on
/// after short reads and writes, trying again after EINTR and EAGAIN, and narrowing a medium error
/// down to the block that has it.
///
/// Policy is not here. A failure that can't be narrowed further is handed to the owner of the
/// transfer.
///
/// Invariant: every index below `capacity` is in `free`, or has exactly one request in flight, or
/// was handed out in an `Outcome.failed` that nobody answered yet.
package struct TransferQueue<Queue: RequestQueue & ~Copyable>: ~Copyable {
    package var queue: Queue
    /// Bytes of zeros for `.writeZeros`, and where they are in the slab.
    package let zeroArea: Range<Int>
    package private(set) var retries: UInt64 = 0
    /// The queue broke: nothing that was in flight will be heard of again, and nothing may be
    /// started.
    package private(set) var isForsaken = false

    /// Whether an unpacker is waited for.
    package private(set) var isPolling = false

    private var transfers: [Transfer]
    private var free: [Int]
    /// Whether a place is kept for the poll, which can't wait for one.
    private let mayPoll: Bool

    /// A request that moves nothing this many times in a row has failed.
    private static var patience: Int32 { 32 }
    /// What comes of the last block of a file is all there is when it was that much so often.
    private static var patienceAtEnd: Int32 { 16 }

    package init(queue: consuming Queue, zeroArea: Range<Int>, mayPoll: Bool = false) {
        let capacity = queue.depth
        let placeholder = Transfer(
            .flush, file: FileIndex(0), owner: -1, range: 0..<0, alignment: 1, stride: 0)
        self.queue = queue
        self.zeroArea = zeroArea
        self.mayPoll = mayPoll
        transfers = Array(repeating: placeholder, count: capacity)
        free = Array((0..<capacity).reversed())
    }

    package var hasRoom: Bool { free.count > (mayPoll && !isPolling ? 1 : 0) }
    package var inFlight: Int { queue.inFlight }

    /// Starts a transfer of at least one byte, or a flush, or a poll.
    ///
    /// Precondition: `hasRoom`, or it is the one poll or takes the place of what has just ended.
    package mutating func start(_ transfer: Transfer) {
        if transfer.kind == .poll { isPolling = true }
        let index = free.removeLast()
        transfers[index] = transfer
        issue(index)
    }

    /// Submits what was started and waits for something to happen, at most for the given time.
    package mutating func wait(timeoutNanoseconds: Int64?) throws(RingError) {
        try queue.submitAndWait(minimum: 1, timeoutNanoseconds: timeoutNanoseconds)
    }

    /// Gives up on the queue after `wait` threw.
    package mutating func forsake() {
        queue.forsake()
        isForsaken = true
    }

    /// The next outcome that is ready; nil when there is none without waiting.
    package mutating func nextOutcome() -> Outcome? {
        while let completion = queue.nextCompletion() {
            if let outcome = advance(Int(completion.token), completion.result) { return outcome }
        }
        return nil
    }

    /// Answers a failure: the same bytes once more.
    package mutating func retry(_ index: Int) {
        retries &+= 1
        transfers[index].fruitlessTries = 0
        issue(index)
    }

    /// Answers a failure: goes on behind the bytes that failed. Returns the transfer if nothing is
    /// left.
    package mutating func skip(_ index: Int, count: Int64) -> Transfer? {
        let skipped = min(count, transfers[index].end - transfers[index].position)
        transfers[index].position += skipped
        transfers[index].skipped += skipped
        transfers[index].fruitlessTries = 0
        return finishOrIssue(index)
    }

    /// Answers a failure: the rest will not be transferred.
    package mutating func abandon(_ index: Int) { release(index) }

    /// Answers a failure of zeroing: the rest is zeroed in another way.
    package mutating func change(_ index: Int, to kind: Transfer.Kind, file: FileIndex) {
        transfers[index].kind = kind
        transfers[index].file = file
        if kind == .writeZeros {
            transfers[index].stride = Int64(zeroArea.count)
            transfers[index].fullStride = Int64(zeroArea.count)
        }
        issue(index)
    }

    // MARK: one request

    private mutating func issue(_ index: Int) {
        let transfer = transfers[index]
        var count = min(transfer.stride, transfer.end - transfer.position)
        let offset = transfer.position + transfer.hostDelta
        let buffer = Int(transfer.position + transfer.bufferDelta)
        let request: Request
        switch transfer.kind {
        case .read, .readPacked:
            // The end of the disk may be off the sector; a direct read has to ask for all of it.
            count = (count + transfer.alignment - 1) & ~(transfer.alignment - 1)
            request = .read(transfer.file, at: offset, count: Int(count), into: buffer)
        case .write:
            request = .write(transfer.file, at: offset, count: Int(count), from: buffer)
        case .writeZeros:
            request = .write(
                transfer.file, at: offset, count: Int(count), from: zeroArea.lowerBound)
        case .punchHole: request = .punchHole(transfer.file, at: offset, count: count)
        case .zeroRange: request = .zeroRange(transfer.file, at: offset, count: count)
        case .flush: request = .sync(transfer.file)
        case .checkpoint: request = .dataSync(transfer.file)
        case .poll: request = .pollIn(transfer.file)
        case .writeBack: request = .writeBack(transfer.file, at: offset, count: count)
        case .dropCache: request = .dropCache(transfer.file, at: offset, count: count)
        }
        transfers[index].requested = count
        queue.enqueue(request, token: Token(index))
    }

    /// Moves a transfer by what its request achieved. Returns nil if it goes on by itself.
    private mutating func advance(_ index: Int, _ result: Int32) -> Outcome? {
        if result < 0 { return fail(index, code: -result) }
        switch transfers[index].kind {
        case .read, .readPacked, .write, .writeZeros: return move(index, Int64(result))
        case .punchHole, .zeroRange, .flush, .checkpoint, .poll, .writeBack, .dropCache:
            transfers[index].position += transfers[index].requested
            transfers[index].fruitlessTries = 0
            widen(index)
            return finishOrIssue(index).map { .finished($0) }
        }
    }

    private mutating func move(_ index: Int, _ result: Int64) -> Outcome? {
        let left = transfers[index].end - transfers[index].position
        var count = min(result, left)
        if count < left {
            // A short one may end off the block; the next request has to start on it.
            count &= ~(transfers[index].alignment - 1)
        }
        guard count > 0 else {
            if transfers[index].kind == .readPacked {
                // A direct read that ends off the block again and again has met the file's end.
                let isLongest = result >= transfers[index].partOfBlock
                if isLongest { transfers[index].partOfBlock = result }
                if result == 0 || isLongest && transfers[index].fruitlessTries >= Self.patienceAtEnd
                {
                    return finishAtEnd(index, result)
                }
            }
            if result == 0 && transfers[index].kind == .read {
                return .failed(index, transfers[index], .endOfFile, count: left)
            }
            return tryAgain(index, orFailWith: .noProgress)
        }
        transfers[index].fruitlessTries = 0
        transfers[index].partOfBlock = 0
        transfers[index].position += count
        widen(index)
        return finishOrIssue(index).map { .finished($0) }
    }

    /// There are no more bytes in the file, and need not be.
    private mutating func finishAtEnd(_ index: Int, _ count: Int64) -> Outcome? {
        transfers[index].position += count
        transfers[index].end = transfers[index].position
        return finishOrIssue(index).map { .finished($0) }
    }

    private mutating func finishOrIssue(_ index: Int) -> Transfer? {
        guard transfers[index].position >= transfers[index].end else {
            issue(index)
            return nil
        }
        release(index)
        return transfers[index]
    }

    private mutating func release(_ index: Int) {
        if transfers[index].kind == .poll { isPolling = false }
        free.append(index)
    }

    // MARK: failures

    private mutating func fail(_ index: Int, code: CInt) -> Outcome? {
        let kind = transfers[index].kind
        if kind == .dropCache {
            free.append(index)
            return .finished(transfers[index])
        }
        if Errors.isTransient(code) { return tryAgain(index, orFailWith: .errno(code)) }
        if kind.isDivisible, Errors.isLocal(code), narrow(index) {
            retries &+= 1
            issue(index)
            return nil
        }
        return .failed(
            index, transfers[index], .errno(code), count: failedCount(index))
    }

    private mutating func tryAgain(_ index: Int, orFailWith cause: FailureCause) -> Outcome? {
        transfers[index].fruitlessTries += 1
        guard transfers[index].fruitlessTries < Self.patience else {
            return .failed(index, transfers[index], cause, count: failedCount(index))
        }
        retries &+= 1
        issue(index)
        return nil
    }

    private func failedCount(_ index: Int) -> Int64 {
        min(transfers[index].requested, transfers[index].end - transfers[index].position)
    }

    /// Makes the requests of a transfer smaller; false if they are down to one block already.
    private mutating func narrow(_ index: Int) -> Bool {
        let transfer = transfers[index]
        let block = max(transfer.alignment, 512)
        guard transfer.requested > block else { return false }
        // Steps of 16: a bad sector in 1 MiB costs three failing requests, not 2048 small ones.
        var stride = transfer.fullStride
        while stride >= transfer.requested { stride /= 16 }
        transfers[index].stride = max(stride & ~(block - 1), block)
        return true
    }

    /// Makes the requests larger again once the trouble is behind.
    private mutating func widen(_ index: Int) {
        let transfer = transfers[index]
        guard transfer.stride < transfer.fullStride else { return }
        let wider = min(transfer.stride * 16, transfer.fullStride)
        if (transfer.position + transfer.hostDelta) % wider == 0 {
            transfers[index].stride = wider
        }
    }
}

extension Transfer.Kind {
    /// Whether smaller requests may save some of the bytes. Compressed ones are of no use in part.
    fileprivate var isDivisible: Bool {
        switch self {
        case .read, .write, .writeZeros, .punchHole, .zeroRange: true
        case .readPacked, .flush, .checkpoint, .poll, .writeBack, .dropCache: false
        }
    }
}
