import Glibc
import Testing

@testable import Ring

/// Submitting and waiting.
@Suite struct WaitingTests {
    @Test(arguments: QueueKind.allCases)
    func `waiting ends at its time limit, with nothing in hand and the request still in flight`(
        _ kind: QueueKind
    ) throws {
        let pipe = Pipe()
        var ring = try TestQueue(
            kind,
            depth: 2, files: [pipe.readEnd], buffers: BufferSlab(byteCount: 1))
        ring.enqueue(.pollIn(file0), token: 5)
        // With the submission in the same call, without one, and with a limit that is over already.
        for limit in [2_000_000, 2_000_000, 0, -1, .min] as [Int64] {
            #expect(try ring.reap(1, timeout: limit).isEmpty)
        }
        let inFlight = ring.inFlight
        #expect(inFlight == 1)
        pipe.makeReadable()
        #expect(try ring.drain() == [Completion(token: 5, result: Int32(POLLIN))])
    }

    @Test(arguments: QueueKind.allCases)
    func `completions that are there are returned, though fewer than the minimum, at the limit`(
        _ kind: QueueKind
    ) throws {
        let pipe = Pipe()
        var ring = try TestQueue(
            kind,
            depth: 4, files: [pipe.readEnd], buffers: BufferSlab(byteCount: 1))
        ring.enqueue(.pollIn(file0), token: 5)
        ring.enqueue(.nop, token: 6)
        #expect(try ring.reap(2, timeout: 2_000_000) == [Completion(token: 6, result: 0)])
        pipe.makeReadable()
        #expect(try ring.drain().count == 1)
    }

    @Test(arguments: QueueKind.allCases, [nil, 1 << 60])
    func `a minimum above what is in flight does not wait forever`(_ kind: QueueKind, limit: Int64?)
        throws
    {
        var ring = try TestQueue(kind, depth: 4, files: [], buffers: BufferSlab(byteCount: 1))
        #expect(try ring.reap(3, timeout: limit).isEmpty)
        ring.enqueue(.nop, token: 1)
        ring.enqueue(.nop, token: 2)
        #expect(try ring.reap(.max, timeout: limit).map(\.token) == [1, 2])
    }

    @Test(arguments: QueueKind.allCases)
    func `looking without waiting makes progress, too`(_ kind: QueueKind) throws {
        let file = try ScratchFile(byteCount: 1 << 20)
        var ring = try TestQueue(
            kind,
            depth: 4, files: [file.descriptor], buffers: BufferSlab(byteCount: 1 << 20))
        ring.enqueue(.read(file0, at: 0, count: 1 << 20, into: 0), token: 1)
        ring.enqueue(.timeout(nanoseconds: 1_000_000), token: 2)
        var completions: [Completion] = []
        // 10 s are enough on any machine, and a failure is better than a test that hangs.
        for _ in 0..<10_000 where completions.count < 2 {
            completions += try ring.reap(0)
            usleep(1000)
        }
        #expect(completions.count == 2)
        if completions.count < 2 { _ = try ring.drain() }
    }

    @Test func `a batch is submitted and waited for in one system call`() throws {
        var ring = try Ring(depth: 64, files: [], buffers: BufferSlab(byteCount: 1))
        for token in 0..<64 { ring.enqueue(.nop, token: Token(token)) }
        #expect(try ring.reap(64).map(\.token) == Array(0..<64))
        let statistics = ring.statistics
        var expected = QueueStatistics()
        expected.enters = 1
        expected.submissions = 64
        expected.completions = 64
        #expect(statistics == expected)
        #expect(try ring.reap(0).isEmpty)
    }

    @Test func `statistics add up`() {
        var total = QueueStatistics()
        var part = QueueStatistics()
        part.enters = 1
        part.submissions = 2
        part.completions = 3
        total += part
        total += part
        #expect(total.enters == 2)
        #expect(total.submissions == 4)
        #expect(total.completions == 6)
    }

    @Test(arguments: QueueKind.allCases, [1, 2, 3, 5, 64, 100, 4096])
    func `the full depth can be in flight, at any depth`(_ kind: QueueKind, depth: Int) throws {
        var ring = try TestQueue(kind, depth: depth, files: [], buffers: BufferSlab(byteCount: 1))
        for round in 0..<3 {
            for index in 0..<depth { ring.enqueue(.nop, token: Token(round * depth + index)) }
            let completions = try ring.drain()
            #expect(completions.count == depth)
            #expect(Set(completions.map(\.token)).count == depth)
        }
    }

    @Test
    func `nothing completes any more after giving up, and the kernel's memory stays`() throws {
        let pipe = Pipe()
        weak var remaining: BufferSlab?
        do {
            let slab = try BufferSlab(byteCount: 1)
            remaining = slab
            var ring = try Ring(depth: 4, files: [pipe.readEnd], buffers: slab)
            ring.enqueue(.pollIn(file0), token: 1)
            ring.enqueue(.nop, token: 2)
            try ring.submitAndWait(minimum: 1, timeoutNanoseconds: nil)
            ring.forsake()
            let completion = ring.nextCompletion()
            #expect(completion == nil)
            let inFlight = ring.inFlight
            #expect(inFlight == 0)
        }
        #expect(remaining != nil)
    }

    @Test func `giving up with nothing in flight leaks nothing`() throws {
        weak var remaining: BufferSlab?
        do {
            let slab = try BufferSlab(byteCount: 1)
            remaining = slab
            var ring = try Ring(depth: 4, files: [], buffers: slab)
            #expect(try ring.carryOut(.nop) == 0)
            ring.forsake()
        }
        #expect(remaining == nil)
    }
}

/// What a queue's owner may not do.
@Suite struct RingPreconditionTests {
    @Test func `destroying a queue with requests in flight stops the program`() async {
        await #expect(processExitsWith: .trap) {
            var ring = try Ring(depth: 1, files: [], buffers: BufferSlab(byteCount: 1))
            ring.enqueue(.nop, token: 1)
        }
    }

    @Test func `enqueueing more than the depth stops the program`() async {
        await #expect(processExitsWith: .trap) {
            var ring = try Ring(depth: 1, files: [], buffers: BufferSlab(byteCount: 1))
            ring.enqueue(.nop, token: 1)
            ring.enqueue(.nop, token: 2)
            ring.forsake()
        }
    }

    @Test func `reaching outside of the slab stops the program`() async {
        await #expect(processExitsWith: .trap) {
            var ring = try Ring(depth: 1, files: [0], buffers: BufferSlab(byteCount: 1))
            ring.enqueue(.read(file0, at: 0, count: 4096, into: (2 << 20) - 4095), token: 1)
            ring.forsake()
        }
    }

    @Test func `asking for no depth stops the program`() async {
        await #expect(processExitsWith: .trap) {
            _ = try Ring(depth: 0, files: [], buffers: BufferSlab(byteCount: 1))
        }
    }
}
