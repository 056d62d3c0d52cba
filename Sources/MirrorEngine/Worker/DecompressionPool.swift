internal import Glibc
package import Ring
internal import Synchronization

/// The threads on which a job's clusters are decompressed, off those of its rings. They are made
/// when the first one comes.
package final class DecompressionPool: Sendable {
    private struct State {
        var tasks: [(task: DecompressionTask, customer: PooledDecompression)] = []
        var threads: [WorkerThread] = []
        /// Rung once for each task, and for each thread at the end.
        var bell: Doorbell?
        /// The system had no thread to give, and isn't asked again.
        var isWithoutThreads = false
        var isClosed = false
    }

    /// Decompressing keeps up with a fast disk on this many cores.
    private static let threadsMax = 4

    private let makeDecompressing: MakeDecompressing
    private let state = Mutex(State())

    package init(_ makeDecompressing: @escaping MakeDecompressing) {
        self.makeDecompressing = makeDecompressing
    }

    /// The access of one worker.
    package func makeDecompressionDriver() throws(RingError) -> PooledDecompression {
        try state.withLock { (state) throws(RingError) in
            if state.bell == nil { state.bell = try Doorbell(isCounted: true) }
        }
        return try PooledDecompression(self)
    }

    /// Has the threads end, once they have done what there is to do. Nothing may be started
    /// afterwards.
    package func close() {
        let (threads, bell) = state.withLock { state in
            state.isClosed = true
            defer { state.threads.removeAll() }
            return (state.threads, state.bell)
        }
        for _ in threads { bell?.ring() }
        for thread in threads { thread.join() }
    }

    func start(_ task: DecompressionTask, for customer: PooledDecompression) {
        let bell = state.withLock { state -> Doorbell? in
            precondition(!state.isClosed, "the pool of a job that is over")
            guard let bell = state.bell else { return nil }
            if state.threads.isEmpty && !state.isWithoutThreads {
                state.threads = makeThreads(bell)
                state.isWithoutThreads = state.threads.isEmpty
            }
            guard !state.threads.isEmpty else { return nil }
            state.tasks.append((task, customer))
            return bell
        }
        if let bell {
            bell.ring()
        } else {
            // Without a thread the caller's has to do.
            var scratch = ScratchMemory()
            customer.end(task.number, task.carryOut(by: makeDecompressing(), &scratch))
        }
    }

    private func makeThreads(_ bell: Doorbell) -> [WorkerThread] {
        let cores = sysconf(CInt(_SC_NPROCESSORS_ONLN))
        return (0..<min(max(cores, 1), Self.threadsMax)).compactMap { _ in
            WorkerThread { [self] in work(bell) }
        }
    }

    private func work(_ bell: Doorbell) {
        let decompressing = makeDecompressing()
        var scratch = ScratchMemory()
        while true {
            bell.wait()
            let next = state.withLock { $0.tasks.isEmpty ? nil : $0.tasks.removeFirst() }
            // As many rings as tasks and threads: without a task it is the end.
            guard let (task, customer) = next else { return }
            customer.end(task.number, task.carryOut(by: decompressing, &scratch))
        }
    }
}

/// One worker's access to a pool.
package final class PooledDecompression: DecompressionDriver {
    private struct State {
        var ends: [Completion] = []
        /// Started, and not handed back.
        var inFlight = 0
        var isForsaken = false
    }

    private let pool: DecompressionPool
    private let bell: Doorbell
    private let state = Mutex(State())

    fileprivate init(_ pool: DecompressionPool) throws(RingError) {
        self.pool = pool
        bell = try Doorbell()
    }

    package var descriptor: CInt { bell.descriptor }

    package var inFlight: Int { state.withLock { $0.inFlight } }

    package func start(_ task: DecompressionTask) {
        state.withLock { $0.inFlight += 1 }
        pool.start(task, for: self)
    }

    package func service() { bell.answer() }

    package func nextCompletion() -> Completion? {
        state.withLock { state in
            guard let end = state.ends.popLast() else { return nil }
            state.inFlight -= 1
            return end
        }
    }

    /// The tasks keep the slab, and end unheard.
    package func forsake() {
        state.withLock { state in
            state.isForsaken = true
            state.inFlight = 0
            state.ends.removeAll()
        }
    }

    fileprivate func end(_ number: Int, _ isGood: Bool) {
        state.withLock { state in
            guard !state.isForsaken else { return }
            state.ends.append(DecompressionTask.completion(of: number, isGood: isGood))
        }
        bell.ring()
    }
}
