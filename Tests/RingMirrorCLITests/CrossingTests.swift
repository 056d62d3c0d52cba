import Testing

@testable import RingMirrorCLI

@Suite struct CrossingTests {
    @Test func `between two shares the line is straight`() {
        let points: [Crossing.Point] = [(0.01, 1), (0.5, 6), (1, 14)]
        #expect(Crossing.share(of: points, full: 10) == 0.75)
        #expect(Crossing.share(of: points, full: 12) == 0.875)
    }

    @Test func `a measured point that takes as long is the crossing`() {
        let points: [Crossing.Point] = [(0.25, 1), (0.5, 6), (1, 14)]
        #expect(Crossing.share(of: points, full: 6) == 0.5)
        #expect(Crossing.share(of: points, full: 14) == 1)
    }

    @Test func `lines that don't meet have no crossing`() {
        let points: [Crossing.Point] = [(0.01, 1), (0.5, 6), (1, 9.99)]
        #expect(Crossing.share(of: points, full: 10) == nil)
        #expect(Crossing.share(of: [], full: 10) == nil)
    }

    @Test func `when all shares take longer the smallest is the answer`() {
        #expect(Crossing.share(of: [(0.001, 11), (1, 10.5)], full: 10) == 0.001)
        #expect(Crossing.share(of: [(1, 10)], full: 10) == 1)
    }

    @Test func `of several crossings the first counts`() {
        let points: [Crossing.Point] = [(0, 8), (0.25, 12), (0.5, 8), (1, 12)]
        #expect(Crossing.share(of: points, full: 10) == 0.125)
    }

    @Test func `medians of few numbers`() {
        #expect(median([]) == 0)
        #expect(median([3]) == 3)
        #expect(median([9, 1, 2]) == 2)
        #expect(median([9, 1, 2, 4]) == 3)
    }
}
