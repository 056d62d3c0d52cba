import CLiburing
import Testing

@testable import Ring

@Suite struct CompletionRingTests {
    static let starts: [UInt32] = [
        0, 0x7FFF_FFFD, 0x8000_0000, 0xFFFF_FFD0, 0xFFFF_FFFE, 0xFFFF_FFFF,
    ]

    /// Plays the kernel: posts completions to a queue of our own memory, in runs of every length,
    /// and takes them, across the place where the counters wrap.
    @Test(arguments: starts, [false, true])
    func `order and counts hold where the counters wrap`(start: UInt32, isWide: Bool) {
        let count: UInt32 = 16
        let head = UnsafeMutablePointer<UInt32>.allocate(capacity: 2)
        let tail = head + 1
        let entries = UnsafeMutablePointer<ringmirror_completion>.allocate(capacity: 2 * Int(count))
        entries.initialize(repeating: ringmirror_completion(), count: 2 * Int(count))
        let stride = isWide ? 2 : 1
        defer {
            head.deallocate()
            entries.deallocate()
        }
        head.initialize(to: start)
        tail.initialize(to: start)
        var ring = CompletionRing(
            head: head, tail: tail, mask: count - 1, entries: entries, isWide: isWide)

        var posted: UInt64 = 0
        var taken: UInt64 = 0
        for round in 0..<200 {
            for _ in 0..<(round * 7 % (Int(count) + 1)) where posted - taken < count {
                let entry = entries + stride * Int(tail.pointee & (count - 1))
                entry.pointee.token = posted
                entry.pointee.result = -Int32(truncatingIfNeeded: posted)
                if isWide {
                    entry[1].token = ~posted
                    entry[1].result = -Int32(truncatingIfNeeded: posted)
                    entry[1].flags = UInt32(truncatingIfNeeded: posted)
                }
                tail.pointee &+= 1
                posted += 1
            }
            #expect(UInt64(ring.ready) == posted - taken)
            for _ in 0..<(round * 5 % (Int(count) + 3)) where taken < posted {
                let completion = ring.next()
                let low = -Int32(truncatingIfNeeded: taken)
                #expect(completion?.token == taken && completion?.result == low)
                let high = UInt64(UInt32(truncatingIfNeeded: taken)) << 32
                let extra = isWide ? (~taken, high | UInt64(UInt32(bitPattern: low))) : (0, 0)
                #expect(completion?.extra.0 == extra.0 && completion?.extra.1 == extra.1)
                taken += 1
            }
            #expect(head.pointee == start &+ UInt32(truncatingIfNeeded: taken))
            #expect(UInt64(ring.ready) == posted - taken)
            if posted == taken {
                let completion = ring.next()
                #expect(completion == nil)
            }
        }
        #expect(posted > 500)
    }
}
