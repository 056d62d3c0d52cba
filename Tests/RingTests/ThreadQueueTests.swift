import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Ring

/// What threads have of their own.
@Suite struct ThreadQueueTests {
    /// System calls that answer when the test lets them.
    final class Gate: Sendable {
        private let entered = Doorbell.counted()
        private let opened = Doorbell.counted()

        func pass() {
            entered.ring()
            opened.wait()
        }
        func awaitEntry() { entered.wait() }
        func open() { opened.ring() }
    }

    @Test
    func `a slow request holds up no other, and as many run at once as there are threads`() throws {
        let gate = Gate()
        var queue = try ThreadQueue(
            depth: 8, files: [0], buffers: BufferSlab(byteCount: 1), threadsMax: 4
        ) { request, _, _ in
            if request.operation == .sync { gate.pass() }
            return 0
        }
        for token in 0..<3 { queue.enqueue(.sync(file0), token: Token(token)) }
        for token in 3..<8 { queue.enqueue(.dataSync(file0), token: Token(token)) }
        var tokens: [Token] = []
        while tokens.count < 5 { tokens += try queue.reap(1).map(\.token) }
        #expect(Set(tokens) == [3, 4, 5, 6, 7])
        for _ in 0..<3 { gate.awaitEntry() }
        for _ in 0..<3 { gate.open() }
        #expect(Set(try queue.drain().map(\.token)) == [0, 1, 2])
    }

    @Test func `what waits can be cancelled, what runs can't, and both complete`() throws {
        let gate = Gate()
        var queue = try ThreadQueue(
            depth: 8, files: [0], buffers: BufferSlab(byteCount: 1), threadsMax: 1
        ) { _, _, _ in
            gate.pass()
            return 0
        }
        queue.enqueue(.sync(file0), token: 1)
        queue.enqueue(.sync(file0), token: 2)
        #expect(try queue.reap(0).isEmpty)
        gate.awaitEntry()
        queue.enqueue(.cancel(1), token: 11)
        queue.enqueue(.cancel(2), token: 12)
        let first = try queue.reap(3)
        #expect(
            Set(first.map { [Int64($0.token), Int64($0.result)] })
                == [[11, Int64(-EALREADY)], [2, Int64(-ECANCELED)], [12, 0]])
        gate.open()
        #expect(try queue.drain() == [Completion(token: 1, result: 0)])
    }

    @Test func `giving up waits for what runs, drops what doesn't, and frees the memory`() throws {
        let gate = Gate()
        let calls = Counter()
        weak var remaining: BufferSlab?
        do {
            let slab = try BufferSlab(byteCount: 1)
            remaining = slab
            var queue = try ThreadQueue(depth: 4, files: [0], buffers: slab, threadsMax: 1) {
                _, _, _ in
                calls.count()
                gate.pass()
                return 0
            }
            for token in 0..<4 { queue.enqueue(.sync(file0), token: Token(token)) }
            try queue.submitAndWait(minimum: 0, timeoutNanoseconds: nil)
            gate.awaitEntry()
            gate.open()
            // At most one more may have begun by now: let it through, too.
            gate.open()
            gate.open()
            gate.open()
            queue.forsake()
            let inFlight = queue.inFlight
            #expect(inFlight == 0)
            let completion = queue.nextCompletion()
            #expect(completion == nil)
        }
        #expect(remaining == nil)
        #expect(calls.value >= 1)
    }

    @Test(arguments: [-EINTR, -EAGAIN, -ENODATA, -ENOSPC, 17])
    func `results are handed on as they are`(result: Int32) throws {
        var queue = try ThreadQueue(
            depth: 2, files: [0], buffers: BufferSlab(byteCount: 4096)
        ) { _, _, _ in result }
        #expect(try queue.carryOut(.read(file0, at: 0, count: 4096, into: 0)) == result)
    }

    @Test
    func `many requests, many threads: each completes once, whatever order they end in`() throws {
        var queue = try ThreadQueue(
            depth: 64, files: [0], buffers: BufferSlab(byteCount: 1)
        ) { request, _, _ in
            if request.offset % 7 == 0 { sched_yield() }
            return Int32(request.offset)
        }
        let requests = (0..<20_000).map { Request.punchHole(file0, at: $0, count: 1) }
        let results = try queue.carryOut(requests)
        #expect(results == (0..<20_000).map { Int32($0) })
    }

    @Test func `where the process may make no thread, the owner does it all`() async {
        await #expect(processExitsWith: .success) {
            try #require(becomeUnprivileged())
            var limit = rlimit(rlim_cur: 1, rlim_max: 1)
            try #require(setrlimit(__rlimit_resource(6), &limit) == 0)  // RLIMIT_NPROC
            try #require(WorkerThread({}) == nil)
            for kind in QueueKind.allCases {
                try checkRandomTransfers(kind, registeredFiles: true, rounds: 5)
                let file = try ScratchFile(byteCount: 1 << 20, direct: false)
                var queue = try TestQueue(
                    kind, depth: 8, files: [file.descriptor], buffers: BufferSlab(byteCount: 1))
                // The kernel has worker threads for these, and can't make any either.
                let results = try queue.carryOut([
                    .dataSync(file0), .punchHole(file0, at: 0, count: 4096), .sync(file0),
                    .writeBack(file0, at: 0, count: 4096), .dropCache(file0, at: 0, count: 4096),
                ])
                try #require(results == [0, 0, 0, 0, 0], "\(kind)")
            }
        }
    }

    @Test func `threads and buffers leave room for everything else`() async {
        await #expect(processExitsWith: .success) {
            try #require(WorkerThread({})?.join() != nil)
            let pages = try #require(
                readSmallFile("/proc/self/statm")?.split(separator: " ").first.flatMap { Int($0) })
            // Room for what is asked for, and not for the reserve besides.
            let bytes = rlim_t(pages * 4096 + (6 << 20))
            var limit = rlimit(rlim_cur: bytes, rlim_max: bytes)
            try #require(setrlimit(__rlimit_resource(9), &limit) == 0)  // RLIMIT_AS
            try #require(WorkerThread({}) == nil)
            let error = #expect(throws: RingError.self) { try BufferSlab(byteCount: 2 << 20) }
            try #require(error?.description.contains("ulimit -v") == true)
        }
    }

    @Test func `a write beyond the file size limit is an error and no signal`() async {
        await #expect(processExitsWith: .success) {
            let file = try ScratchFile(byteCount: 0)
            let descriptor = file.descriptor
            var limit = rlimit(rlim_cur: 1 << 20, rlim_max: 1 << 20)
            try #require(setrlimit(__rlimit_resource(1), &limit) == 0)  // RLIMIT_FSIZE
            for kind in QueueKind.allCases {
                let result = Atomic<Int32>(0)
                // Its thread and those that it makes do not take the signal, as a job's do not.
                let thread = WorkerThread {
                    do {
                        var queue = try TestQueue(
                            kind, depth: 2, files: [descriptor],
                            buffers: BufferSlab(byteCount: 8192))
                        let write = Request.write(file0, at: 1 << 20, count: 4096, from: 0)
                        result.store(try queue.carryOut(write), ordering: .relaxed)
                    } catch {
                        result.store(1, ordering: .relaxed)
                    }
                }
                try #require(thread != nil)
                thread?.join()
                try #require(result.load(ordering: .relaxed) == -EFBIG, "\(kind)")
            }
            withExtendedLifetime(file) {}
        }
    }
}

extension Doorbell {
    fileprivate static func counted() -> Doorbell {
        do { return try Doorbell(isCounted: true) } catch { preconditionFailure("\(error)") }
    }
}

/// Counts calls from any thread.
final class Counter: Sendable {
    private let total = Atomic(0)
    func count() { total.add(1, ordering: .relaxed) }
    var value: Int { total.load(ordering: .relaxed) }
}
