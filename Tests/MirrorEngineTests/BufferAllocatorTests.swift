import TestSupport
import Testing

@testable import MirrorEngine

@Suite struct BufferAllocatorTests {
    /// Random allocations against a plain list of what is handed out.
    @Test(arguments: [1, 2, 7, 64])
    func `an allocator agrees with a list`(units: Int) {
        var random = RandomTest.generator(defaultSeed: UInt64(units))
        let unit = 4096
        var allocator = BufferAllocator(byteCount: units * unit, unit: unit)
        var taken: [Range<Int>] = []
        for event in 0..<RandomTest.events(default: 1000) {
            let place: Comment = "event \(event) with \(units) units: \(random.replay)"
            if random.chance(percent: 55) {
                let count = Int.random(in: 1...(units * unit), using: &random)
                let found = allocator.allocate(count)
                #expect((found != nil) == fits(count, among: taken, units, unit), place)
                guard let range = found else { continue }
                #expect(range.lowerBound % unit == 0 && range.upperBound <= units * unit, place)
                #expect(range.count >= count && range.count < count + unit, place)
                #expect(!taken.contains { $0.overlaps(range) }, place)
                taken.append(range)
            } else if let index = taken.indices.randomElement(using: &random) {
                allocator.release(taken.remove(at: index))
            }
        }
    }

    /// Whether there are enough free units in a row.
    private func fits(_ count: Int, among taken: [Range<Int>], _ units: Int, _ unit: Int) -> Bool {
        var row = 0
        for index in 0..<units {
            let start = index * unit
            row = taken.contains { $0.contains(start) } ? 0 : row + 1
            if row * unit >= count { return true }
        }
        return false
    }

    /// Requests of one size must never fragment the memory, in whatever order they end.
    @Test func `full requests always fit`() {
        var random = RandomTest.generator(defaultSeed: 1)
        var allocator = BufferAllocator(byteCount: 8 << 20, unit: 64 << 10)
        var taken: [Range<Int>] = []
        for _ in 0..<1000 {
            while let range = allocator.allocate(1 << 20) { taken.append(range) }
            #expect(taken.count == 8)
            taken.shuffle(using: &random)
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                allocator.release(taken.removeLast())
            }
        }
    }
}

@Suite struct IndexQueueTests {
    /// Random operations against an array.
    @Test(arguments: [1, 2, 5, 64])
    func `a queue agrees with an array`(capacity: Int) {
        var random = RandomTest.generator(defaultSeed: UInt64(capacity))
        var queue = IndexQueue<Int>(capacity: capacity)
        var twin: [Int] = []
        for event in 0..<RandomTest.events(default: 1000) {
            if twin.count < capacity && random.chance(percent: 50) {
                if random.chance(percent: 30) {
                    queue.prepend(event)
                    twin.insert(event, at: 0)
                } else {
                    queue.append(event)
                    twin.append(event)
                }
            } else if !twin.isEmpty {
                let first = queue.popFirst()
                #expect(first == twin.removeFirst(), "event \(event): \(random.replay)")
            }
            #expect(queue.count == twin.count && queue.first == twin.first)
        }
    }
}
