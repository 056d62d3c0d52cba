import Glibc
package import Ring
import Synchronization

/// The bytes of a disk in memory, which several endpoints may serve.
package final class MemoryStore: Sendable {
    private let content: Mutex<[UInt8]>

    package init(_ bytes: [UInt8]) { content = Mutex(bytes) }

    package var bytes: [UInt8] { content.withLock { $0 } }

    fileprivate func read(_ range: Range<Int>) -> [UInt8] { content.withLock { Array($0[range]) } }

    fileprivate func write(_ bytes: [UInt8], at start: Int) {
        content.withLock { $0.replaceSubrange(start..<(start + bytes.count), with: bytes) }
    }
}

/// A disk in memory behind a driver: a thread answers requests one after the other, in an order
/// and with lengths of a seed's choice.
package final class MemoryEndpoint: EndpointDriver {
    private struct Job: Sendable {
        let request: Request
        let token: Token
        let buffers: BufferSlab
    }

    private struct State {
        var jobs: [Job] = []
        var ended: [Completion] = []
        var random: SeededGenerator
    }

    private let store: MemoryStore
    private let size: Int
    private let state: Mutex<State>
    private let bell: Doorbell
    private let work: Doorbell
    private var thread: WorkerThread?
    package private(set) var inFlight = 0

    package init(_ store: MemoryStore, seed: UInt64) throws(RingError) {
        self.store = store
        size = store.bytes.count
        state = Mutex(State(random: SeededGenerator(seed: seed)))
        bell = try Doorbell()
        work = try Doorbell(isCounted: true)
        let (work, shared) = (work, Shared(self))
        thread = WorkerThread {
            while true {
                work.wait()
                guard shared.endpoint?.answerOne() == true else { return }
            }
        }
    }

    /// What the thread knows of the endpoint; it does not keep it.
    private final class Shared: @unchecked Sendable {
        weak var endpoint: MemoryEndpoint?
        init(_ endpoint: MemoryEndpoint) { self.endpoint = endpoint }
    }

    /// Ends the thread, which finds no endpoint any more.
    deinit {
        work.ring()
        thread?.detach()
    }

    package var descriptor: CInt { bell.descriptor }

    package func start(_ request: Request, token: Token, _ buffers: BufferSlab) {
        inFlight += 1
        state.withLock { $0.jobs.append(Job(request: request, token: token, buffers: buffers)) }
        work.ring()
    }

    package func service() { bell.answer() }

    package func nextCompletion() -> Completion? {
        guard let end = state.withLock({ $0.ended.isEmpty ? nil : $0.ended.removeFirst() }) else {
            return nil
        }
        inFlight -= 1
        return end
    }

    package func forsake() { inFlight = 0 }

    /// False if there was nothing to do.
    private func answerOne() -> Bool {
        let didOne = state.withLock { state in
            guard !state.jobs.isEmpty else { return false }
            let index = Int.random(in: state.jobs.indices, using: &state.random)
            let job = state.jobs.remove(at: index)
            state.ended.append(Completion(token: job.token, result: carryOut(job, &state)))
            return true
        }
        if didOne { bell.ring() }
        return didOne
    }

    private func carryOut(_ job: Job, _ state: inout State) -> Int32 {
        let request = job.request
        let start = Int(request.offset)
        var count = min(Int(request.length), size - start)
        if count > 1, state.random.chance(percent: 20) { count /= 2 }
        let memory = request.bufferOffset..<(request.bufferOffset + max(count, 0))
        switch request.operation {
        case .read:
            guard count > 0 else { return 0 }
            let bytes = store.read(start..<(start + count))
            job.buffers.withMutableBytes(memory) { span in
                span.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
            }
            return Int32(count)
        case .write:
            guard count > 0 else { return -ENOSPC }
            let bytes = job.buffers.withBytes(memory) { $0.withUnsafeBytes { Array($0) } }
            store.write(bytes, at: start)
            return Int32(count)
        case .sync, .dataSync: return 0
        default: return -EOPNOTSUPP
        }
    }
}
