import BlockStorage
import Foundation
import MirrorEngine
import Ring

/// What the rings of one simulated job share: the files, the misbehaviour asked for, the record of
/// what was requested, and what was found wrong with it.
///
/// With one ring a run is determined by its seed. With more, the scheduler has a say in the order.
final class SimulatedKernel: @unchecked Sendable {
    /// What the kernel may do to any request, and sometimes does to these.
    struct Behaviour {
        var seed: UInt64 = 1
        /// Of a hundred requests, how many come back short, and how many with EAGAIN or EINTR.
        var shortPercent = 0
        var transientPercent = 0
        /// Requests complete in any order, at any later time; else at once and in order.
        var isShuffling = false
        /// Requests for these never get past EAGAIN.
        var stuck: Set<Request.Operation> = []
        /// The call of `submitAndWait` that throws, counted over all rings from 1.
        var ringErrorAtStep: Int?
        /// Rings that can't be made, counted in the order they are asked for from 0.
        var failingRings: Set<Int> = []
        /// What carries requests out.
        var queue = QueueKind.current
        /// Threads of a queue that has some; with none, the worker does it all.
        var threadsMax = 4
    }

    /// A ring whose every step the seed decides, or threads of the operating system.
    enum QueueKind: CaseIterable {
        case ring, threads

        @TaskLocal static var current = QueueKind.ring
    }

    /// One request as it was submitted.
    struct Record: Equatable, CustomStringConvertible {
        let operation: Request.Operation
        let file: Int
        let offset: Int64
        let count: Int64

        var description: String {
            count == 0 ? "\(operation)" : "\(operation) \(offset)+\(count)"
        }
    }

    let files: [SimulatedFile]
    let requestSize: Int
    let zeroArea: Range<Int>
    let behaviour: Behaviour

    private let lock = NSLock()
    private var steps = 0
    private var rings = 0
    private var nextID: UInt64 = 0
    private var recorded: [Record] = []
    private var problems: [String] = []
    private var hook: (@Sendable (Int) -> Void)?
    private var living: LivingSource?

    /// A loop that never ends is found by its number of system calls.
    private static let stepsMax = 400_000

    init(
        files: [SimulatedFile], requestSize: Int, zeroArea: Range<Int>, behaviour: Behaviour
    ) {
        self.files = files
        self.requestSize = requestSize
        self.zeroArea = zeroArea
        self.behaviour = behaviour
    }

    /// Called at each `submitAndWait`, with its number, before it does anything.
    func onStep(_ hook: @escaping @Sendable (Int) -> Void) { lock.withLock { self.hook = hook } }

    /// Lets somebody write at each `submitAndWait`.
    func letLive(_ source: LivingSource?) { lock.withLock { living = source } }

    var records: [Record] { lock.withLock { recorded } }
    var violations: [String] { lock.withLock { problems } }
    var stepCount: Int { lock.withLock { steps } }

    func count(_ operation: Request.Operation) -> Int {
        records.count { $0.operation == operation }
    }

    // MARK: for the queues

    func makeRing() throws(RingError) -> Int {
        let number = lock.withLock {
            rings += 1
            return rings - 1
        }
        if behaviour.failingRings.contains(number) { throw .outOfMemory }
        return number
    }

    func step() throws(RingError) {
        let (number, hook, living) = lock.withLock {
            steps += 1
            return (steps, self.hook, self.living)
        }
        hook?(number)
        living?.act()
        if number == behaviour.ringErrorAtStep {
            throw .systemCall("io_uring_enter", code: EBADF)
        }
        if number > Self.stepsMax {
            report("the job goes round in circles")
            throw .systemCall("io_uring_enter", code: ELOOP)
        }
    }

    func identify() -> UInt64 {
        lock.withLock {
            nextID += 1
            return nextID
        }
    }

    func record(_ request: Request) {
        let record = Record(
            operation: request.operation, file: Int(request.file.rawValue),
            offset: request.offset, count: request.length)
        lock.withLock { recorded.append(record) }
    }

    func report(_ problem: String) {
        lock.withLock { if problems.count < 20 { problems.append(problem) } }
    }

    func expect(_ condition: Bool, _ problem: @autoclosure () -> String) {
        if !condition { report(problem()) }
    }
}
