import Testing

@testable import DirtyBitmap

@Suite struct RangeSpanningTests {
    @Test func `one range around any two`() {
        let ranges = (0...4).flatMap { start in (start...4).map { start..<$0 } }
        for first in ranges {
            for second in ranges {
                let both = first.spanning(second)
                let bounds = [first, second].flatMap { [$0.lowerBound, $0.upperBound] }.sorted()
                #expect([both.lowerBound, both.upperBound] == [bounds[0], bounds[3]])
            }
        }
    }
}
