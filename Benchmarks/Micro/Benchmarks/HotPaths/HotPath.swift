import Benchmark
import CAllocationCount
import Glibc
import Synchronization

/// Something that jobs do again and again, and that has to be cheap.
protocol HotPath {
    /// Makes ready what one `run` uses up. Not measured.
    mutating func prepare() throws

    /// Does the work as often as the benchmark's scaling factor says. Measured.
    mutating func run() throws

    /// System calls made so far; nil where none can be made.
    var systemCalls: UInt64? { get }
}

extension HotPath {
    mutating func prepare() {}
    var systemCalls: UInt64? { nil }
}

extension BenchmarkMetric {
    /// Both are totals of an iteration: divided by the scaling factor, a few would read as none.
    static let allocations = custom("Allocations in all", useScalingFactor: false)
    static let systemCalls = custom("System calls in all", useScalingFactor: false)
}

/// What one `run` has to cost. Counts are the same on every machine, so any other count is a
/// failure of the benchmark; times are only reported.
struct Cost {
    var allocations = 0
    var systemCalls: Int?
}

/// What failed first.
private let failure = Mutex<String?>(nil)

/// Keeps a path from one iteration to the next. It is made by the thread that runs it: a ring
/// belongs to the thread that made it, and setting up may happen in another one.
private final class Runner<Path: HotPath> {
    private let make: () throws -> Path
    private let cost: Cost
    private var path: Path?

    init(_ cost: Cost, _ make: @escaping () throws -> Path) {
        self.cost = cost
        self.make = make
    }

    func iterate(_ benchmark: Benchmark) throws {
        // Moved out and back, so that there are never two that share an array.
        var path = try self.path.take() ?? warmedUp()
        defer { self.path = path }
        try path.prepare()

        benchmark.startMeasurement()
        let calls = path.systemCalls
        let before = allocation_count()
        try path.run()
        let allocations = Int(allocation_count() - before)
        benchmark.stopMeasurement()

        benchmark.measurement(.allocations, allocations)
        if allocations != cost.allocations {
            fail(benchmark, "\(allocations) allocations, not \(cost.allocations)")
        }
        guard let expected = cost.systemCalls else { return }
        guard let calls, let callsNow = path.systemCalls else {
            return fail(benchmark, "nothing counts the system calls")
        }
        let made = Int(callsNow - calls)
        benchmark.measurement(.systemCalls, made)
        if made != expected { fail(benchmark, "\(made) system calls, not \(expected)") }
    }

    /// Lets this process fail in the end, of which each benchmark has one of its own: that fails
    /// the whole. What the benchmark package calls an error is printed only, and may end it early.
    func fail(_ benchmark: Benchmark, _ reason: String) {
        let text = "\(benchmark.name): \(reason)\n"
        let isFirst = failure.withLock { failure in
            defer { failure = failure ?? text }
            return failure == nil
        }
        guard isFirst else { return }
        // Not before the end: the output of a benchmark that runs may be suppressed.
        atexit {
            let text = failure.withLock { $0 } ?? ""
            write(STDERR_FILENO, text, text.utf8.count)
            _exit(1)
        }
    }

    /// A path that has been run once: what is allocated only once is no cost of each time.
    private func warmedUp() throws -> Path {
        var path = try make()
        try path.prepare()
        try path.run()
        return path
    }
}

/// Adds a benchmark. `scale` is how often a `run` does what the name says.
func measure(
    _ name: String, _ scale: BenchmarkScalingFactor = .one, _ cost: Cost = Cost(),
    _ make: @escaping () throws -> some HotPath
) {
    let metrics: [BenchmarkMetric] = [.wallClock, .allocations]
    let runner = Runner(cost, make)
    Benchmark(
        name,
        configuration: Benchmark.Configuration(
            metrics: metrics + (cost.systemCalls == nil ? [] : [.systemCalls]),
            timeUnits: .nanoseconds, scalingFactor: scale, maxDuration: .milliseconds(500),
            maxIterations: 10_000)
    ) { benchmark in
        do {
            try runner.iterate(benchmark)
        } catch {
            runner.fail(benchmark, "\(error)")
        }
    }
}
