import Glibc
import TestSupport
import Testing

@testable import Ring

/// Files and drivers behind one wait.
@Suite(.timeLimit(.minutes(5))) struct CompositeQueueTests {
    private static let size = 1 << 20
    private static let block = 4096

    /// A queue over a file between two endpoints, and what each is known to hold.
    private final class Rig {
        let file: ScratchFile
        let stores: [MemoryStore]
        let endpoints: [MemoryEndpoint]
        var contents: [[UInt8]]

        init(_ generator: inout SeededGenerator) throws {
            let size = CompositeQueueTests.size
            contents = (0..<3).map { _ in randomBytes(size, &generator) }
            file = try ScratchFile(byteCount: size)
            try file.put(contents[1])
            stores = [MemoryStore(contents[0]), MemoryStore(contents[2])]
            endpoints = [
                try MemoryEndpoint(stores[0], seed: generator.next()),
                try MemoryEndpoint(stores[1], seed: generator.next()),
            ]
        }

        func makeQueue(_ kind: QueueKind, depth: Int) throws -> CompositeQueue<TestQueue> {
            let slab = try BufferSlab(byteCount: depth * CompositeQueueTests.block)
            let base = try TestQueue(
                kind, depth: depth + 2,
                files: [
                    endpoints[0].descriptor, file.descriptor, endpoints[1].descriptor,
                ], buffers: slab)
            return CompositeQueue(base, endpoints: [endpoints[0], nil, endpoints[1]])
        }
    }

    /// Random reads and writes of all three, many at once, each to a place of its own: what is read
    /// is what was there, what is written is there afterwards, and each ends once.
    @Test(arguments: QueueKind.allCases) func `requests reach what they name`(
        _ kind: QueueKind
    ) throws {
        var generator = RandomTest.generator(defaultSeed: 7)
        let rig = try Rig(&generator)
        let depth = 16
        var queue = try rig.makeQueue(kind, depth: depth)
        #expect(queue.depth == depth)
        var places: [Int: (file: Int, block: Int, isWrite: Bool)] = [:]
        var free = Array(0..<depth)
        var left = RandomTest.events(default: 2000)
        while left > 0 || queue.inFlight > 0 {
            while left > 0, let slot = free.popLast() {
                left -= 1
                var (file, block) = (0, 0)
                repeat {
                    file = Int.random(in: 0..<3, using: &generator)
                    block = Int.random(in: 0..<(Self.size / Self.block), using: &generator)
                } while places.values.contains { $0.file == file && $0.block == block }
                let isWrite = generator.chance(percent: 50)
                places[slot] = (file, block, isWrite)
                let (offset, memory) = (Int64(block * Self.block), slot * Self.block)
                let index = FileIndex(UInt32(file))
                if isWrite {
                    queue.buffers.fill(randomBytes(Self.block, &generator), at: memory)
                    queue.enqueue(
                        .write(index, at: offset, count: Self.block, from: memory),
                        token: ClientToken(QueueClient(rawValue: 3), slot).token)
                } else {
                    queue.enqueue(
                        .read(index, at: offset, count: Self.block, into: memory),
                        token: ClientToken(QueueClient(rawValue: 3), slot).token)
                }
            }
            try queue.submitAndWait(minimum: 1, timeoutNanoseconds: nil)
            // Now and then some are left for later.
            while let end = queue.nextCompletion() {
                let slot = ClientToken(end.token).index
                let found = places.removeValue(forKey: slot)
                let place = try #require(found, "it ended twice")
                free.append(slot)
                try #require(end.result > 0)
                let start = place.block * Self.block
                let bytes = queue.buffers.bytes(
                    slot * Self.block..<(slot * Self.block + Int(end.result)))
                let range = start..<(start + bytes.count)
                if place.isWrite {
                    rig.contents[place.file].replaceSubrange(range, with: bytes)
                } else {
                    #expect(Array(rig.contents[place.file][range]) == bytes, "\(place)")
                }
                if generator.chance(percent: 10) { break }
            }
        }
        #expect(free.count == depth && places.isEmpty)
        #expect(rig.stores[0].bytes == rig.contents[0])
        #expect(try rig.file.get(Self.size) == rig.contents[1])
        #expect(rig.stores[1].bytes == rig.contents[2])
    }

    /// A driver that can't be waited for breaks the queue, as a broken ring does.
    @Test(arguments: QueueKind.allCases) func `a poll that fails is an error of the queue`(
        _ kind: QueueKind
    ) throws {
        let slab = try BufferSlab(byteCount: 4096)
        let driver = DeadDriver()
        let base = try TestQueue(kind, depth: 2, files: [driver.descriptor], buffers: slab)
        var queue = CompositeQueue(base, endpoints: [], helpers: [driver])
        #expect(queue.inFlight == 1)
        #expect(throws: RingError.systemCall("IORING_OP_POLL_ADD", code: EBADF)) {
            while true {
                try queue.submitAndWait(minimum: 1, timeoutNanoseconds: nil)
                while queue.nextCompletion() != nil {}
            }
        }
        queue.forsake()
        #expect(queue.inFlight == 0)
    }

    private final class DeadDriver: QueueDriver {
        /// Nobody has opened so many.
        let descriptor: CInt = 99_999
        private(set) var inFlight = 1
        func service() { Issue.record("nothing was readable") }
        func nextCompletion() -> Completion? { nil }
        func forsake() { inFlight = 0 }
    }
}
