import Foundation
import Synchronization
import TestSupport
import Testing

@testable import DirtyBitmap

@Suite struct AtomicBitmapTests {
    private final class Counters: Sendable {
        /// The round that writers may begin.
        let release = Atomic(0)
        /// How many have ended one, in sum.
        let arrived = Atomic(0)
    }

    /// What it marks and drains is what a plain bitmap marks and merges.
    @Test(arguments: Shape.granularities)
    func `it is the twin of a plain bitmap`(granularity: Granularity) throws {
        var random = RandomTest.generator(defaultSeed: 0xA7_0311C)
        let size = min(granularity.bytes * 700, 1 << 40) + granularity.bytes / 2 + 3
        let marks = try AtomicBitmap(size: size, granularity: granularity)
        var drained = DirtyBitmap(size: size, granularity: granularity)
        var twin = DirtyBitmap(size: size, granularity: granularity)
        let isClean = marks.isClean && !marks.drain(into: &drained)
        #expect(isClean && drained.isClean == true)
        for step in 0..<RandomTest.events(default: 400) {
            let start = Int64.random(in: 0...size, using: &random)
            let reach = Bool.random(using: &random) ? granularity.bytes * 3 : size
            let end = Int64.random(in: start...min(size, start + reach), using: &random)
            if step % 97 == 96 {
                marks.setAll()
                twin.setAll()
            } else {
                marks.set(start..<end)
                twin.set(start..<end)
            }
            guard Int.random(in: 0..<10, using: &random) == 0 else { continue }
            // What was drained and taken away does not come again.
            let hadMarks = !marks.isClean
            #expect(marks.drain(into: &drained) == hadMarks, "\(random.replay)")
            #expect(marks.isClean, "\(random.replay)")
            let isSame = drained.isEqual(to: twin)
            #expect(isSame, "step \(step); \(random.replay)")
            if Bool.random(using: &random) {
                drained.clearAll()
                twin.clearAll()
            }
        }
    }

    @Test func `ranges at the ends of words are whole`() throws {
        let edges = [(0, 64), (63, 64), (63, 65), (64, 128), (1, 63), (0, 200), (199, 200)]
        for (start, end) in edges {
            let marks = try AtomicBitmap(size: 200 * 512, granularity: .min)
            marks.set(Int64(start) * 512..<Int64(end) * 512)
            var bits = DirtyBitmap(size: 200 * 512, granularity: .min)
            marks.drain(into: &bits)
            #expect(bits.runs() == [Int64(start) * 512..<Int64(end) * 512])
        }
        let none = try AtomicBitmap(size: 0)
        none.setAll()
        #expect(none.isClean)
    }

    /// Each mark is drained, and none of a round that is over comes in a later one.
    @Test func `no mark is lost between threads`() throws {
        let size: Int64 = 64 * 512 * 3 + 512
        let marks = try AtomicBitmap(size: size, granularity: .min)
        let granules = Int(size / 512)
        let rounds = 200
        let writers = 3
        let counters = Counters()
        var threads: [Thread] = []
        for writer in 0..<writers {
            let thread = Thread {
                for round in 1...rounds {
                    while counters.release.load(ordering: .acquiring) < round { sched_yield() }
                    for granule in stride(from: writer, to: granules, by: writers) {
                        marks.set(Int64(granule) * 512..<Int64(granule + 1) * 512)
                    }
                    counters.arrived.wrappingAdd(1, ordering: .acquiringAndReleasing)
                }
            }
            thread.start()
            threads.append(thread)
        }
        for round in 1...rounds {
            var found = DirtyBitmap(size: size, granularity: .min)
            counters.release.store(round, ordering: .releasing)
            // Beside the writers, and once more when they have ended.
            while counters.arrived.load(ordering: .acquiring) < round * writers {
                marks.drain(into: &found)
            }
            marks.drain(into: &found)
            #expect(found.dirtyBytes == size)
            #expect(marks.isClean)
        }
    }
}
