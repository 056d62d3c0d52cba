import Glibc
import Synchronization
import Testing

@testable import Ring

/// Signals while waiting.
@Suite(.serialized)
struct SignalTests {
    @Test(arguments: QueueKind.allCases)
    func `under a storm of signals every request completes exactly once`(_ kind: QueueKind) throws {
        let signals = try underSignals {
            for seed in 0..<20 {
                // While signals come, the kernel may fail to start a worker, and cancels what it
                // was to do; the ring does it then.
                try checkRandomTransfers(
                    kind, registeredFiles: true, seed: UInt64(seed), rounds: 5)
            }
            // Timeouts wait long enough for many signals each.
            var ring = try TestQueue(kind, depth: 8, files: [], buffers: BufferSlab(byteCount: 1))
            let results = try ring.carryOut(
                (0..<40).map { .timeout(nanoseconds: Int64($0 % 7) * 1_000_000) })
            #expect(results.allSatisfy { $0 == -ETIME })
        }
        #expect(signals > 100)
    }

    @Test(arguments: QueueKind.allCases)
    func `a wait with a time limit ends, though signals come more often than the limit is long`(
        _ kind: QueueKind
    ) throws {
        let signals = try underSignals {
            let pipe = Pipe()
            var ring = try TestQueue(
                kind,
                depth: 2, files: [pipe.readEnd], buffers: BufferSlab(byteCount: 1))
            ring.enqueue(.pollIn(file0), token: 1)
            for _ in 0..<10 {
                #expect(try ring.reap(1, timeout: 100_000_000).isEmpty)
            }
            pipe.makeReadable()
            #expect(try ring.drain() == [Completion(token: 1, result: Int32(POLLIN))])
        }
        #expect(signals > 0)
    }
}

/// How many signals the handler has seen, in all tests.
private let handledSignals = Atomic(0)

/// Runs the body on a thread that gets a signal every 50 microseconds, whose handler only counts
/// and lets system calls fail with EINTR. Returns the number of signals.
private func underSignals(_ body: @escaping @Sendable () throws -> Void) throws -> Int {
    let before = handledSignals.load(ordering: .relaxed)
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in handledSignals.add(1, ordering: .relaxed) }
    sigemptyset(&action.sa_mask)
    action.sa_flags = 0  // not SA_RESTART
    try #require(sigaction(SIGUSR2, &action, nil) == 0)

    try TestThread {
        // The threads of the test runner block signals, and theirs inherit that.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR2)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)

        let target = pthread_self()
        let finished = Flag()
        let storm = TestThread {
            while !finished.isSet {
                pthread_kill(target, SIGUSR2)
                usleep(50)
            }
        }
        let result = Result { try body() }
        finished.set()
        try storm.join()
        try result.get()
    }.join()
    return handledSignals.load(ordering: .relaxed) - before
}
