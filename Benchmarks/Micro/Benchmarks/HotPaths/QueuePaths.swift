import Benchmark
import MirrorEngine
import Ring

private let batchSize = 125
private let batchCount = 8

/// 1000 transfers of one request each, which the queue carries out at once.
///
/// `TransferQueue` is generic, and is not specialised for a type of another module, as it is for
/// the ring where jobs use it. So its times can be compared with one another only.
final class Transferring: HotPath {
    private var transfers: TransferQueue<NullQueue>

    init() throws {
        let slab = try BufferSlab(byteCount: BufferSlab.alignment)
        transfers = TransferQueue(
            queue: NullQueue(depth: batchSize, buffers: slab), zeroArea: 0..<4096)
    }

    func run() throws {
        for batch in 0..<batchCount {
            for index in 0..<batchSize {
                let start = Int64(batch * batchSize + index) << 16
                transfers.start(
                    Transfer(
                        .read, file: FileIndex(0), owner: .reading(ReadingIndex(index)),
                        range: start..<(start + 65536), alignment: 512, stride: 1 << 19))
            }
            try transfers.wait(timeoutNanoseconds: nil)
            var finished = 0
            while let outcome = transfers.nextOutcome() {
                guard case .finished = outcome else { preconditionFailure("\(outcome)") }
                finished += 1
            }
            precondition(finished == batchSize)
        }
    }
}

/// Says of every request that all of it was done.
private struct NullQueue: ~Copyable, RequestQueue {
    let depth: Int
    let buffers: BufferSlab
    private(set) var statistics = QueueStatistics()
    private var completions: [Completion]
    /// Counted from the first request on; the place in the array is the remainder.
    private var enqueued = 0
    private var ready = 0
    private var taken = 0

    init(depth: Int, buffers: BufferSlab) {
        self.depth = depth
        self.buffers = buffers
        completions = Array(repeating: Completion(token: 0, result: 0), count: depth)
    }

    var inFlight: Int { enqueued - taken }

    func supports(_ operation: Request.Operation) -> Bool { true }

    mutating func enqueue(_ request: Request, token: Token) {
        precondition(inFlight < depth, "more requests than the queue was made for")
        completions[enqueued % depth] = Completion(token: token, result: Int32(request.length))
        enqueued += 1
    }

    mutating func submitAndWait(minimum: Int, timeoutNanoseconds: Int64?) { ready = enqueued }

    mutating func forsake() {}

    mutating func nextCompletion() -> Completion? {
        guard taken < ready else { return nil }
        defer { taken += 1 }
        return completions[taken % depth]
    }
}

/// 1000 requests through the kernel, of which each batch has to take one system call.
final class RingNops: HotPath {
    private var ring: Ring

    init() throws {
        let slab = try BufferSlab(byteCount: BufferSlab.alignment)
        ring = try Ring(depth: batchSize, files: [], buffers: slab)
    }

    var systemCalls: UInt64? { ring.statistics.enters }

    func run() throws {
        for _ in 0..<batchCount {
            for index in 0..<batchSize { ring.enqueue(.nop, token: Token(index)) }
            try ring.submitAndWait(minimum: batchSize, timeoutNanoseconds: nil)
            var completed = 0
            while let completion = ring.nextCompletion() {
                blackHole(completion.token)
                completed += 1
            }
            precondition(completed == batchSize)
        }
    }
}
