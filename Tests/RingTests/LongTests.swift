import Foundation
import Testing

@testable import Ring

@Suite struct LongTests {
    static let isWanted = ProcessInfo.processInfo.environment["RINGMIRROR_LONG"] == "1"

    /// About 6 minutes in a release build on one core of 2026, half an hour in a debug build.
    @Test(.enabled(if: isWanted, "takes minutes; set RINGMIRROR_LONG=1"))
    func `a ring runs past its 2^32nd request`() throws {
        let total: UInt64 = (1 << 32) + (1 << 24)
        let depth = 256
        var ring = try Ring(depth: depth, files: [], buffers: BufferSlab(byteCount: 1))
        var expected: Token = 0
        var isInOrder = true
        while expected < total, isInOrder {
            for token in expected..<expected + UInt64(depth) { ring.enqueue(.nop, token: token) }
            try ring.submitAndWait(minimum: depth, timeoutNanoseconds: nil)
            while let completion = ring.nextCompletion() {
                if completion != Completion(token: expected, result: 0) { isInOrder = false }
                expected += 1
            }
            if expected & ((1 << 28) - 1) == 0 {
                print("2^32 requests: \((expected * 100) >> 32) %")
                fflush(nil)
            }
        }
        #expect(isInOrder, "at request \(expected)")
        let statistics = ring.statistics
        #expect(statistics.submissions == total)
        #expect(statistics.completions == total)
        #expect(statistics.enters == total / UInt64(depth))
    }
}
