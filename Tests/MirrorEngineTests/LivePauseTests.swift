import BlockStorage
import Testing

@testable import MirrorEngine

/// How long the writers of a source would be held back, and what is never tried.
@Suite struct LivePauseTests {
    private static let second: Int64 = 1_000_000_000

    @Test func `a pause is the copy, the flush and the hold, and a comparison after them`() {
        var measure = LiveMeasure()
        #expect(measure.comparison(of: 1 << 40) == 0)
        measure.copied(100 << 20, in: Self.second)
        measure.flushed(in: Self.second)
        measure.quiesced(in: 0)
        #expect(measure.pause(dirty: 200 << 20) == 3 * Self.second)
        #expect(measure.comparison(of: 500 << 20) == 5 * Self.second)
        #expect(measure.comparison(of: 0) == 0)
        measure.wasTooShort()
        #expect(measure.pause(dirty: 200 << 20) == 6 * Self.second)
        // Sums of them are numbers still.
        let longest = measure.pause(dirty: .max)
        #expect(longest.addingReportingOverflow(measure.comparison(of: .max)).overflow == false)
    }

    @Test func `what can't be compared while the writers are held back is refused`() throws {
        var request = LiveRequest(.freeze)
        let error = #expect(throws: MirrorError.self) {
            try request.requirePause(for: .all, of: 1 << 40)
        }
        #expect(error?.code == .invalidOption && error?.problem.contains("64 s") == true)
        try request.requirePause(for: .all, of: 1 << 30)
        try request.requirePause(for: .copied, of: 1 << 40)
        request.maxPause = 65 * Self.second
        try request.requirePause(for: .all, of: 1 << 40)
        try LiveRequest(.untilUnused).requirePause(for: .all, of: 1 << 40)
    }
}
