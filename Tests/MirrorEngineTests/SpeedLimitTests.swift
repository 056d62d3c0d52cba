import Testing

@testable import MirrorEngine

/// The limiter on a clock of its own.
@Suite struct SpeedLimitTests {
    private let second: Int64 = 1_000_000_000

    /// How many bytes go in `seconds`, in requests of `request` bytes.
    private func bytes(
        _ limit: SpeedLimit, from start: Int64, seconds: Int64, request: Int64
    ) -> Int64 {
        var now = start
        var total: Int64 = 0
        while now < start + seconds * second {
            let delay = limit.delay(now: now)
            if delay > 0 {
                now += delay
            } else {
                limit.consume(request)
                total += request
                now += 1000
            }
        }
        return total
    }

    @Test func `no limit never waits`() {
        let limit = SpeedLimit(bytesPerSecond: nil)
        for _ in 0..<1000 {
            limit.consume(1 << 30)
            #expect(limit.delay(now: 5) == 0)
        }
    }

    /// The rate is kept over some seconds, whatever the size of a request.
    @Test(arguments: [1000, 4096, 1 << 20, 100 << 20] as [Int64], [4096, 1 << 20] as [Int64])
    func `the rate is kept`(rate: Int64, request: Int64) {
        let limit = SpeedLimit(bytesPerSecond: rate)
        let seconds = max(20, 40 * request / rate)
        let moved = bytes(limit, from: 7 * second, seconds: seconds, request: request)
        let wanted = rate * seconds
        // A burst, and the request at each end, more or less.
        let slack = rate / 10 + 2 * request + wanted / 50
        #expect(abs(moved - wanted) <= slack)
    }

    /// Time without work must not be saved up for a burst.
    @Test func `idle time is not saved up`() {
        let limit = SpeedLimit(bytesPerSecond: 1 << 20)
        _ = bytes(limit, from: 0, seconds: 1, request: 4096)
        let moved = bytes(limit, from: 1000 * second, seconds: 1, request: 4096)
        #expect(moved <= (1 << 20) * 12 / 10)
    }

    /// A new limit holds from then on, also one that is lifted and set again.
    @Test func `the limit can be changed`() {
        let limit = SpeedLimit(bytesPerSecond: 1000)
        limit.consume(1_000_000)
        #expect(limit.delay(now: second) > second)
        limit.set(nil)
        #expect(limit.delay(now: second) == 0)
        #expect(limit.bytesPerSecond == nil)
        limit.set(1 << 20)
        let moved = bytes(limit, from: 2 * second, seconds: 10, request: 4096)
        #expect(abs(moved - 10 << 20) <= 1 << 20)
    }

    /// A clock that stands still or goes back must not give anything away.
    @Test func `a standing clock is survived`() {
        let limit = SpeedLimit(bytesPerSecond: 1000)
        _ = limit.delay(now: 100 * second)
        limit.consume(2000)
        #expect(limit.delay(now: 100 * second) > second)
        #expect(limit.delay(now: 50 * second) > second)
    }
}
