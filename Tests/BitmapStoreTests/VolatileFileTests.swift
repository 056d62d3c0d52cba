import TestSupport
import Testing

/// What the tests of crashes believe a machine to do.
@Suite struct VolatileFileTests {
    private static let seeds: Range<UInt64> = 0..<200

    private func bytes(_ value: UInt8, _ count: Int) -> [UInt8] {
        [UInt8](repeating: value, count: count)
    }

    /// All that a power cut may leave.
    private func cuts(_ file: VolatileFile, percent: Int = 50) -> Set<[UInt8]> {
        var found: Set<[UInt8]> = []
        for seed in Self.seeds {
            var random = SeededGenerator(seed: seed)
            found.insert(file.afterPowerCut(percent: percent, using: &random))
        }
        return found
    }

    @Test func `a file grows with zeros, by writes and by itself, and is cut`() {
        var file = VolatileFile([1, 2])
        file.perform(.write(offset: 4, bytes: [5]))
        #expect(file.content == [1, 2, 0, 0, 5])
        file.perform(.resize(1))
        file.perform(.resize(3))
        #expect(file.content == [1, 0, 0])
        #expect(file.durable == [1, 2])
        #expect(file.pending.count == 3)
        file.perform(.sync)
        #expect(file.durable == [1, 0, 0])
        #expect(file.pending.isEmpty)
    }

    @Test func `a kill loses no event before it, and makes none durable`() {
        var file = VolatileFile([0])
        file.perform(.write(offset: 0, bytes: [1]))
        file.startRecording()
        file.perform(.write(offset: 1, bytes: [2]))
        file.perform(.mark(7))
        file.perform(.sync)
        file.perform(.write(offset: 0, bytes: [3]))
        #expect(file.events.count == 4)
        let contents: [[UInt8]] = [[1], [1, 2], [1, 2], [1, 2], [3, 2]]
        let pending = [1, 2, 2, 0, 1]
        for count in 0...4 {
            let killed = file.afterKill(before: count)
            #expect(killed.content == contents[count])
            #expect(killed.durable == (count < 3 ? [0] : [1, 2]))
            #expect(killed.pending.count == pending[count])
            #expect(killed.events.isEmpty)
        }
    }

    @Test func `a power cut keeps any of what is pending, in its order`() {
        var file = VolatileFile([0, 0, 0])
        file.perform(.write(offset: 0, bytes: [1, 1]))
        file.perform(.mark(1))
        file.perform(.write(offset: 1, bytes: [2]))
        file.perform(.resize(2))
        let states: [[UInt8]] = [
            [0, 0, 0], [1, 1, 0], [0, 2, 0], [1, 2, 0], [0, 0], [1, 1], [0, 2], [1, 2],
        ]
        for (pattern, state) in states.enumerated() {
            #expect(file.afterPowerCut(keeping: pattern) == state)
        }
        #expect(cuts(file) == Set(states))
        #expect(cuts(file, percent: 100) == [[1, 2]])
        #expect(cuts(file, percent: 0) == [[0, 0, 0]])
    }

    @Test func `a torn write lacks whole sectors of the disk, any of them`() {
        var file = VolatileFile(bytes(0, 2048))
        file.perform(.write(offset: 500, bytes: bytes(1, 1024)))
        // Parts of the first and the last sector, and all of the one between.
        let sectors = [500..<512, 512..<1024, 1024..<1524]
        var states: Set<[UInt8]> = []
        for pattern in 0..<8 {
            var state = bytes(0, 2048)
            for (number, sector) in sectors.enumerated() where pattern >> number & 1 == 1 {
                state.replaceSubrange(sector, with: bytes(1, sector.count))
            }
            states.insert(state)
        }
        #expect(cuts(file) == states)
    }

    /// Of many sectors chance hardly ever loses all or none, so that it is the write that is there
    /// or not.
    @Test func `a long write is there, or lost, or torn`() {
        var file = VolatileFile()
        file.perform(.write(offset: 0, bytes: bytes(1, 64 * 512)))
        var found: Set<Int> = []
        for seed in Self.seeds {
            var random = SeededGenerator(seed: seed)
            let cut = file.afterPowerCut(percent: 50, using: &random)
            found.insert(stride(from: 0, to: cut.count, by: 512).count { cut[$0] == 1 })
        }
        #expect(found.contains(0) && found.contains(64) && found.count > 2)
    }

    @Test func `what a failed sync loses stays lost, and processes don't see it`() {
        var found: Set<[UInt8]> = []
        for seed in Self.seeds {
            var file = VolatileFile(bytes(0, 1024))
            file.perform(.write(offset: 0, bytes: bytes(1, 1024)))
            file.perform(.resize(1000))
            file.perform(.failedSync(seed: seed))
            #expect(file.pending.isEmpty)
            #expect(file.content == bytes(1, 1000))
            #expect(file.afterKill(before: 3).durable == file.durable)
            found.insert(file.durable)
            file.perform(.write(offset: 0, bytes: [2]))
            var expected = file.durable
            expected[0] = 2
            file.perform(.sync)
            #expect(file.durable == expected)
        }
        #expect(found.count == 8, "two sectors and a truncation, there or lost")
    }
}
