internal import DirtyBitmap
package import Ring

/// Carries transfers out over a request queue, and does for them what every I/O needs: going on
/// after short reads and writes, trying again after EINTR and EAGAIN, and narrowing a medium error
/// down to the block that has it. Control requests go the same way, and are tried again likewise.
///
/// Policy is not here. A failure that can't be narrowed further is handed to the owner of the
/// transfer.
///
/// Invariant: every index below `capacity` is in `free`, or has exactly one request in flight, or
/// was handed out in an `Outcome.failed` that nobody answered yet. What is in flight is the
/// transfer of that index, or its control request if it has one.
package struct TransferQueue<Queue: RequestQueue & ~Copyable>: ~Copyable {
    package var queue: Queue
    /// Bytes of zeros for `.writeZeros`, and where they are in the slab.
    package let zeroArea: Range<Int>
    package private(set) var retries: UInt64 = 0
    /// How often the job has been resumed. Each request notes this number when it is made, so that
    /// a job that was resumed since tries again before it pauses for a failure of the request.
    /// The number may be out of date. It is too small then, and costs one more try.
    var resumes = 0
    /// The queue broke: nothing that was in flight will be heard of again, and nothing may be
    /// started.
    private var isForsaken = false

    private var transfers: [Transfer]
    private var controls: [PendingControl?]
    private var free: [Int]
    /// Transfers that failed and wait for an answer.
    private var unanswered = 0

    private struct PendingControl {
        let control: ControlRequest
        var fruitlessTries: Int32 = 0
    }

    /// A request that moves nothing this many times in a row has failed.
    private static var patience: Int32 { 32 }
    /// What comes of the last block of a file is all there is when it was that much so often.
    private static var patienceAtEnd: Int32 { 16 }

    package init(queue: consuming Queue, zeroArea: Range<Int>) {
        let capacity = queue.depth
        let placeholder = Transfer(
            .read, file: FileIndex(0), owner: .slot(SlotIndex(0)), range: 0..<0, alignment: 1,
            stride: 0)
        self.queue = queue
        self.zeroArea = zeroArea
        transfers = Array(repeating: placeholder, count: capacity)
        controls = Array(repeating: nil, count: capacity)
        free = Array((0..<capacity).reversed())
    }

    package var hasRoom: Bool { !free.isEmpty }
    package var inFlight: Int { queue.inFlight }

    /// Starts a transfer of at least one byte. Precondition: `hasRoom`.
    package mutating func start(_ transfer: Transfer) {
        precondition(transfer.position < transfer.end, "a transfer of nothing")
        let index = free.removeLast()
        assert(controls[index] == nil)
        transfers[index] = transfer
        issue(index)
    }

    /// Starts a control request. Precondition: `hasRoom`.
    package mutating func start(_ control: ControlRequest) {
        let index = free.removeLast()
        controls[index] = PendingControl(control: control)
        issueControl(index, control)
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
            let token = ClientToken(completion.token)
            switch token.client {
            case .transfer:
                if let outcome = advance(token.index, completion.result) { return outcome }
            case .control:
                if let outcome = endControl(token.index, completion.result) { return outcome }
            case .decompression:
                return .decompressed(CompressedIndex(token.index), isGood: completion.result >= 0)
            default: preconditionFailure("a completion for client \(token.client.rawValue)")
            }
        }
        checkInvariants()
        return nil
    }

    /// Answers a failure: the same bytes once more.
    package mutating func retry(_ index: TransferIndex) {
        retries &+= 1
        answer(index)
        issue(index.rawValue)
    }

    /// Answers a failure: goes on behind the bytes that failed. Returns the transfer if nothing is
    /// left.
    package mutating func skip(_ index: TransferIndex, count: Int64) -> Transfer? {
        answer(index)
        let index = index.rawValue
        let skipped = min(count, transfers[index].end - transfers[index].position)
        transfers[index].position += skipped
        transfers[index].skipped += skipped
        return finishOrIssue(index)
    }

    /// Answers a failure: the rest will not be transferred.
    package mutating func abandon(_ index: TransferIndex) {
        answer(index)
        free.append(index.rawValue)
    }

    /// Answers a failure of zeroing: the rest is zeroed in another way.
    package mutating func change(
        _ index: TransferIndex, to kind: Transfer.Kind, file: FileIndex
    ) {
        answer(index)
        let index = index.rawValue
        transfers[index].kind = kind
        transfers[index].file = file
        if kind == .writeZeros {
            transfers[index].stride = Int64(zeroArea.count)
            transfers[index].fullStride = Int64(zeroArea.count)
        }
        issue(index)
    }

    private mutating func answer(_ index: TransferIndex) {
        precondition(unanswered > 0, "nothing waits for an answer")
        unanswered -= 1
        transfers[index.rawValue].fruitlessTries = 0
    }

    /// Every place is free, waits for an answer, or has its one request in the queue, which may do
    /// more than that: helpers' work has no place here. O(1).
    private borrowing func checkInvariants() {
        assert(isForsaken || transfers.count - free.count - unanswered <= queue.inFlight)
    }

    // MARK: one request

    private mutating func issue(_ index: Int) {
        let transfer = transfers[index]
        var count = min(transfer.stride, transfer.end - transfer.position)
        let offset = transfer.position + transfer.hostDelta
        let buffer = Int(transfer.position + transfer.bufferDelta)
        let request: Request
        switch transfer.kind {
        case .read, .readCompressed:
            // The end of the disk may be off the sector; a direct read has to ask for all of it.
            count = count.roundedUp(to: transfer.alignment)
            request = .read(transfer.file, at: offset, count: Int(count), into: buffer)
        case .write:
            request = .write(transfer.file, at: offset, count: Int(count), from: buffer)
        case .writeZeros:
            request = .write(
                transfer.file, at: offset, count: Int(count), from: zeroArea.lowerBound)
        case .punchHole: request = .punchHole(transfer.file, at: offset, count: count)
        case .zeroRange: request = .zeroRange(transfer.file, at: offset, count: count)
        }
        transfers[index].requested = count
        transfers[index].resumes = resumes
        queue.enqueue(request, token: ClientToken(.transfer, index).token)
    }

    /// Moves a transfer by what its request achieved. Returns nil if it goes on by itself.
    private mutating func advance(_ index: Int, _ result: Int32) -> Outcome? {
        if result < 0 { return fail(index, code: -result) }
        switch transfers[index].kind {
        case .read, .readCompressed, .write, .writeZeros: return move(index, Int64(result))
        case .punchHole, .zeroRange:
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
            if transfers[index].kind == .readCompressed {
                // A direct read that ends off the block again and again has met the file's end.
                let isLongest = result >= transfers[index].partOfBlock
                if isLongest { transfers[index].partOfBlock = result }
                if result == 0 || isLongest && transfers[index].fruitlessTries >= Self.patienceAtEnd
                {
                    return finishAtEnd(index, result)
                }
            }
            if result == 0 && transfers[index].kind == .read {
                return failure(index, .endOfFile, count: left)
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
        free.append(index)
        return transfers[index]
    }

    // MARK: control requests

    private mutating func issueControl(_ index: Int, _ control: ControlRequest) {
        queue.enqueue(control.request, token: ClientToken(.control, index).token)
    }

    private mutating func endControl(_ index: Int, _ result: Int32) -> Outcome? {
        guard var pending = controls[index] else {
            preconditionFailure("a control request ended that was not begun")
        }
        let control = pending.control
        if result < 0, !control.isHint, ErrnoClass.isTransient(-result) {
            pending.fruitlessTries += 1
            if pending.fruitlessTries < Self.patience {
                controls[index] = pending
                retries &+= 1
                issueControl(index, control)
                return nil
            }
        }
        controls[index] = nil
        free.append(index)
        return result >= 0 || control.isHint
            ? .done(control) : .undone(control, .errno(-result))
    }

    // MARK: failures

    private mutating func fail(_ index: Int, code: CInt) -> Outcome? {
        if ErrnoClass.isTransient(code) { return tryAgain(index, orFailWith: .errno(code)) }
        if transfers[index].kind.isDivisible, ErrnoClass.isLocal(code), narrow(index) {
            retries &+= 1
            issue(index)
            return nil
        }
        return failure(index, .errno(code), count: failedCount(index))
    }

    private mutating func tryAgain(_ index: Int, orFailWith cause: FailureCause) -> Outcome? {
        transfers[index].fruitlessTries += 1
        guard transfers[index].fruitlessTries < Self.patience else {
            return failure(index, cause, count: failedCount(index))
        }
        retries &+= 1
        issue(index)
        return nil
    }

    private mutating func failure(
        _ index: Int, _ cause: FailureCause, count: Int64
    ) -> Outcome {
        unanswered += 1
        return .failed(TransferIndex(index), transfers[index], cause, count: count)
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
        transfers[index].stride = max(stride.roundedDown(to: block), block)
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
        case .readCompressed: false
        }
    }
}
