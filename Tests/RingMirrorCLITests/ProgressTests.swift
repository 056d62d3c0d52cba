import Testing

@testable import RingMirrorCLI

/// What a person reads while a job runs.
@Suite struct ProgressTests {
    private static let gib: Int64 = 1 << 30

    private func line(
        done: Int64, planned: Int64 = gib, saved: Int64 = 0, seconds: Double = 10
    ) -> ProgressLine {
        var line = ProgressLine(verb: "copied", planned: planned, saved: saved, at: 100)
        line.update(done: done, planned: planned, at: 100 + seconds)
        return line
    }

    @Test func `the most important comes first`() {
        let text = line(done: 256 << 20).text()
        #expect(text == "25 %, 30 s left, 256 MiB of 1.0 GiB copied, 25.6 MiB/s")
    }

    @Test func `what does not fit is left out from the end`() {
        let line = line(done: 256 << 20)
        var last = Int.max
        for width in (0...80).reversed() {
            let text = line.text(width: width)
            #expect(text.count <= max(width, 4), "\(width): \(text)")
            #expect(text.hasPrefix("25 %"))
            #expect(text.count <= last)
            last = text.count
        }
        #expect(line.text(width: 20) == "25 %, 30 s left")
    }

    @Test func `a resumed job counts the whole`() {
        let text = line(done: 0, planned: 844 << 20, saved: 180 << 20).text()
        #expect(text.hasPrefix("17 %, 180 MiB of 1.0 GiB copied"), "\(text)")
    }

    @Test func `100 percent only when all is done`() {
        #expect(line(done: Self.gib - 1).percent == 99)
        #expect(line(done: Self.gib).percent == 100)
        #expect(line(done: 0, planned: 0).percent == 100)
        #expect(line(done: Self.gib).text("flushing").hasPrefix("100 %, flushing, "))
    }

    /// A limit of 64 KiB a second that comes in bursts of 512 KiB: the first of them is no rate.
    @Test func `the first estimate is honest`() {
        var line = ProgressLine(verb: "copied", planned: Self.gib, at: 0)
        var done: Int64 = 0
        for second in 1...60 {
            done = Int64(second / 8) * (512 << 10)
            line.update(done: done, planned: Self.gib, at: Double(second))
            guard second >= 8, let eta = line.etaSeconds else { continue }
            // 16384 s of work.
            #expect(eta > 14000 && eta < 32800, "after \(second) s: \(eta)")
        }
    }

    @Test func `the last half minute weighs more`() {
        var line = ProgressLine(verb: "copied", planned: 1000 << 20, at: 0)
        var done: Int64 = 0
        for second in 1...100 {
            done += second <= 60 ? 1 << 20 : 10 << 20
            line.update(done: done, planned: 1000 << 20, at: Double(second))
        }
        #expect(line.bytesPerSecond == 10 << 20)
        let eta = line.etaSeconds ?? 0
        // Between all time (4.6 MiB/s) and the last half minute (10 MiB/s).
        #expect(eta > 54 && eta < 118, "\(eta)")
    }

    @Test func `a log gets a line a tenth and a line a minute`() {
        var display = ProgressDisplay(isTerminal: false)
        #expect(!display.isDue(line(done: Self.gib / 20, seconds: 5)))
        #expect(display.isDue(line(done: Self.gib / 20, seconds: 60)))
        let tenth = line(done: Self.gib / 10 + 1, seconds: 5)
        #expect(display.isDue(tenth))
        display.show(tenth, nil)
        #expect(!display.isDue(tenth))
        #expect(display.isDue(line(done: Self.gib / 10 + 1, seconds: 66)))
    }

    @Test(arguments: [
        (0.2, "1 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (15120, "4 h 12 min"),
    ])
    func `durations in words`(seconds: Double, text: String) {
        #expect(ProgressLine.duration(seconds) == text)
    }
}
