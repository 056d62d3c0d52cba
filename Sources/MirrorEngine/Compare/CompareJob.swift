package import BlockStorage
public import DirtyBitmap
internal import QCOW2
public import Ring
internal import Synchronization

/// What a comparison found. All sizes are in bytes.
public struct CompareReport: Sendable {
    /// Why nothing is known for certain; nil if the comparison has its answer.
    ///
    /// Either it ended early, or it found no difference in files that something else wrote
    /// meanwhile: what was written behind it was not looked at.
    public let error: MirrorError?
    /// The file that something else wrote meanwhile; nil if none is known. Differences that were
    /// found may be none any more, and others may have come.
    public let disturbance: MirrorError?
    public let sizes: (first: Int64, second: Int64)
    /// Bytes by which one side is longer because its format has whole sectors only, if they are
    /// zeros: they are no part of the disk. 0 if there are none.
    public let padding: Int64
    /// Bytes of both disks that were compared, holes of both included.
    public let compared: Int64
    public let read: Int64
    public let differingBytes: Int64
    /// Bytes of either side that could not be read, and count as different for a job that copies
    /// what differs. 0 for a comparison that is a job of its own: it fails for them.
    public let unreadBytes: Int64
    /// Clusters of `clusterSize` that hold a difference.
    public let differingClusters: Int
    public let clusterSize: Int64
    public let firstDifference: Int64?
    public let seconds: Double
    public let statistics: QueueStatistics
    /// What carried the reads out, `.uring` or `.threads`; nil if nothing could be made for it.
    public let io: IOMethod?
    /// Why it was threads, where a ring was preferred.
    public let ringRefusal: RingError?

    /// Same size, same bytes, every byte was looked at, and nothing is known to have been written
    /// meanwhile.
    public var isIdentical: Bool {
        error == nil && abs(sizes.first - sizes.second) == padding && differingBytes == 0
    }
}

/// What a comparison's ring thread shares with whoever watches.
package final class SharedComparison: Sendable {
    let pair: PairMap
    /// What runs are cut at multiples of.
    private let unit: Int64
    let requestSize: Int
    /// Runs that are read at the same time.
    let depth: Int
    /// Bytes of the largest run. Each slot has memory for two.
    let runBytes: Int
    /// Where the slab has compressed bytes, behind the slots.
    let compressed: CompressedArea
    /// Which sides are read through the page cache.
    let isBuffered: (Bool, Bool)
    let dispenser: RunDispenser
    /// Of the comparison or, if that is a part of another job, of that one.
    let control: JobControl
    let purpose: ComparisonPurpose
    let counters = JobCounters()
    private let findings: Mutex<Findings>

    struct Findings: ~Copyable {
        var differingBytes: Int64 = 0
        var unreadBytes: Int64 = 0
        var first: Int64?
        var clusters: DirtyBitmap
        var statistics = QueueStatistics()
        var setup: QueueSetup?
    }

    package init(
        _ first: any SourceMap, _ second: any SourceMap, runs: consuming DirtyBitmap,
        requestSize: Int, depth: Int, isBuffered: (Bool, Bool) = (false, false),
        control: JobControl? = nil, purpose: ComparisonPurpose = ComparisonPurpose()
    ) {
        self.control = control ?? JobControl(speedLimit: nil)
        self.purpose = purpose
        let block = JobPlan.blockSize(first.alignment, second.alignment, runs.granularity.bytes)
        let pair = PairMap(first, second)
        unit = max(pair.unit, block)
        runBytes = max(requestSize, Int(unit))
        // Larger runs are fewer, so that the memory stays about the same.
        self.depth = min(depth, max(2, depth * requestSize / runBytes))
        let slots = 2 * self.depth * runBytes
        compressed = CompressedArea.fitting(pair, atMost: slots / 4).starting(at: slots)
        self.pair = pair
        self.requestSize = requestSize
        self.isBuffered = isBuffered
        findings = Mutex(
            Findings(clusters: DirtyBitmap(size: runs.size, granularity: runs.granularity)))
        dispenser = RunDispenser(
            working: runs, source: pair, blockSize: block, unit: unit, slots: self.depth)
    }

    /// Two reads a run.
    package var queueDepth: Int { 2 * depth }

    package var slabBytes: Int { compressed.range.upperBound }

    package var hasCompressed: Bool { compressed.count > 0 }

    package func differences() -> DirtyBitmap { findings.withLock { $0.clusters.copy() } }

    /// What is not known to be the same on both sides, once the comparison has ended: what differs
    /// and, after a stop, what was not compared.
    package func undecided() -> DirtyBitmap {
        var bits = dispenser.remaining()
        findings.withLock { bits.merge(sameSize: $0.clusters) }
        return bits
    }

    /// Notes what can't be read of a side, so that nobody knows whether it differs. Where a side
    /// has clusters all of each counts: one that is written in part is filled from what it has.
    func note(unread range: Range<Int64>) {
        let end = min(range.upperBound.roundedUp(to: unit), pair.size)
        findings.withLock { findings in
            findings.unreadBytes += Int64(range.count)
            findings.clusters.set(range.lowerBound.roundedDown(to: unit)..<end)
        }
    }

    /// Notes a run that differs; `differs` tells which of its clusters do.
    func note(
        differing bytes: Int, firstAt offset: Int64, in range: Range<Int64>,
        differs: (Range<Int64>) -> Bool
    ) {
        findings.withLock { findings in
            findings.differingBytes += Int64(bytes)
            findings.first = min(findings.first ?? .max, offset)
            let granule = findings.clusters.granularity.bytes
            var start = range.lowerBound
            while start < range.upperBound {
                let end = min((start / granule + 1) * granule, range.upperBound)
                if differs(start..<end) { findings.clusters.set(start..<end) }
                start = end
            }
        }
    }

    func add(_ statistics: QueueStatistics) {
        findings.withLock { $0.statistics += statistics }
    }

    func note(_ setup: QueueSetup) { findings.withLock { $0.setup = setup } }

    package func report(
        sizes: (Int64, Int64), padding: Int64 = 0, seconds: Double,
        disturbance: MirrorError? = nil
    ) -> CompareReport {
        findings.withLock { findings in
            let isUnsure =
                findings.differingBytes == 0 && abs(sizes.0 - sizes.1) == padding
            return CompareReport(
                error: control.verdict ?? (isUnsure ? disturbance : nil), disturbance: disturbance,
                sizes: sizes, padding: padding, compared: counters.done.value,
                read: counters.read.value, differingBytes: findings.differingBytes,
                unreadBytes: findings.unreadBytes,
                differingClusters: findings.clusters.dirtyCount,
                clusterSize: findings.clusters.granularity.bytes,
                firstDifference: findings.first, seconds: seconds,
                statistics: findings.statistics, io: findings.setup?.method,
                ringRefusal: findings.setup?.refusal)
        }
    }
}

/// Compares two disks byte for byte, reading both through a ring.
///
/// A job runs once. Any thread may watch and cancel it while it runs.
public final class CompareJob: Job {
    /// Tells the job from all others of this process.
    public let id = JobID()
    private let state: SharedComparison
    /// Open as long as the job lives.
    private let disks: (Disk, Disk)
    private let sizes: (Int64, Int64)
    private let planned: Int64
    private let io: IOMethod
    private let makeDecompressing: MakeDecompressing
    /// Both sides as they were before the comparison; nil if what is made of the report looks
    /// after that by itself.
    private let watch: WriteWatch?
    private let isByName: Bool

    /// Both halves of all slots make 8 MiB, which an ordinary user may register.
    private static let requestSize = 512 << 10
    private static let depth = 8

    /// Compares what two disks have in common: the smaller size counts. If `isPrefix` says so, the
    /// second may be larger, as a target that a smaller source was mirrored to.
    ///
    /// - Parameter isByName: whether the answer is about what the paths lead to when it is given: a
    ///   side that was replaced or removed meanwhile is an error then.
    public convenience init(
        _ first: Disk, _ second: Disk, isPrefix: Bool = false, isByName: Bool = false,
        io: IOMethod = .automatic
    ) {
        let size = min(first.geometry.size, second.geometry.size)
        var runs = DirtyBitmap(size: size, granularity: Granularity(forSize: size))
        runs.setAll()
        self.init(first, second, only: runs, isPrefix: isPrefix, isByName: isByName, io: io)
    }

    /// Compares only what `runs` has dirty, cluster by cluster of its granularity. Its size must
    /// be the smaller one of both sides, or the program stops.
    public convenience init(
        _ first: Disk, _ second: Disk, only runs: consuming DirtyBitmap, isPrefix: Bool = false,
        isByName: Bool = false, io: IOMethod = .automatic
    ) {
        self.init(
            first, second, only: runs, isPrefix: isPrefix, isWatched: true, isByName: isByName,
            io: io, decompressing: standardDecompressing)
    }

    /// - Parameter isWatched: whether a side that something else writes meanwhile, or that loses
    ///   what it was read with, spoils the answer. The first side is read from its storage then;
    ///   the second always is. The comparison of a job whose source is in use does without.
    /// - Parameter control: of the job that this is a part of, with its phases; nil: of its own.
    package init(
        _ first: Disk, _ second: Disk, only runs: consuming DirtyBitmap, isPrefix: Bool,
        isWatched: Bool, isByName: Bool = false, io: IOMethod = .automatic,
        control: JobControl? = nil, purpose: ComparisonPurpose = ComparisonPurpose(),
        decompressing: @escaping MakeDecompressing = standardDecompressing
    ) {
        let size = min(first.geometry.size, second.geometry.size)
        precondition(runs.size == size, "the bitmap is not of the size that both sides have")
        sizes = (first.geometry.size, isPrefix ? size : second.geometry.size)
        disks = (first, second)
        if isWatched { first.readAnew() }
        second.readAnew()
        watch = isWatched ? WriteWatch(first.devices + second.devices) : nil
        self.isByName = isByName
        self.io = io
        makeDecompressing = decompressing
        let left = first.sourceMap(size: size)
        let right = second.sourceMap(size: size)
        let block = JobPlan.blockSize(left.alignment, right.alignment, runs.granularity.bytes)
        let runs = runs.coarsened(to: block)
        planned = runs.dirtyBytes
        state = SharedComparison(
            left, right, runs: runs, requestSize: Self.requestSize, depth: Self.depth,
            isBuffered: (first.caching != .direct, second.caching != .direct), control: control,
            purpose: purpose)
    }

    /// The clusters in which a difference was found; all that were, once the job has ended.
    public func differences() -> DirtyBitmap { state.differences() }

    /// What is not known to be the same on both sides, once the job has ended, by whatever.
    func undecided() -> DirtyBitmap { state.undecided() }

    /// Runs the comparison on a thread of its own and waits for its end.
    public func runAndWait() -> CompareReport {
        state.control.start()
        defer { state.control.end() }
        return compare()
    }

    /// The same for a job of which this is a part, and which says itself where it is.
    func compare() -> CompareReport {
        let start = Clock.now
        let body: @Sendable () -> Void = { [self] in work() }
        // Without a thread the caller's has to do.
        if let thread = WorkerThread(body) { thread.join() } else { body() }
        let seconds = Double(Clock.now - start) / 1e9
        // Before the last look: what is read here is watched too.
        let padding = padding()
        let moved = isByName ? disks.0.movedFile ?? disks.1.movedFile : nil
        let disturbance =
            watch?.firstWritten().map(MirrorError.writtenMeanwhile)
            ?? moved.map(MirrorError.movedMeanwhile)
            ?? (watch == nil ? nil : firstLoss())
        return state.report(
            sizes: sizes, padding: padding, seconds: seconds, disturbance: disturbance)
    }

    /// That what was read of a side, from its page cache, is not on its storage.
    private func firstLoss() -> MirrorError? {
        do throws(MirrorError) {
            try disks.0.flush()
            try disks.1.flush()
            return nil
        } catch {
            return error
        }
    }

    /// What one side has of zeros behind the end of the other, if its size was rounded up to whole
    /// sectors of 512 bytes, as that of a qcow2 image is when it is made.
    private func padding() -> Int64 {
        let longer = sizes.0 > sizes.1 ? disks.0 : disks.1
        let (small, large) = (min(sizes.0, sizes.1), max(sizes.0, sizes.1))
        guard small < large, Disk.wholeSectors(small) == large, longer.format == "qcow2",
            let image = longer.image
        else { return 0 }
        do throws(StorageError) {
            let tail = try image.read(at: small, count: Int(large - small))
            return tail.allSatisfy { $0 == 0 } ? large - small : 0
        } catch {
            state.control.fail(.storage(error))
            return 0
        }
    }

    /// It compares two disks.
    public var kind: JobKind { .comparison }

    /// Where the comparison is.
    public var phase: JobPhase { state.control.phase }

    /// It has none.
    public var speedLimit: Int64? { nil }

    /// Stops the comparison, if that is what the verb asks for.
    ///
    /// - Throws: for all other verbs, and if it has ended.
    public func apply(_ verb: JobVerb) throws(JobVerbError) {
        try requireKind(allows: verb)
        try state.control.apply(verb)
    }

    /// Stops the comparison; its report says that it did not finish.
    public func cancel() { state.control.cancel() }

    /// Bytes to compare, and how many of them were.
    public var progress: JobProgress {
        let phase = phase
        return JobProgress(
            phase: phase, activity: .verifying, planned: planned,
            done: state.counters.done.value, read: state.counters.read.value, written: 0,
            zeroed: 0, skipped: 0, pausedBy: nil, pauses: 0, live: nil)
    }

    private func work() {
        let pool = DecompressionPool(makeDecompressing)
        defer { pool.close() }
        do throws(RingError) {
            let decompression = state.hasCompressed ? try pool.makeDecompressionDriver() : nil
            try io.withQueue(
                depth: state.queueDepth, endpoints: state.pair.endpoints,
                decompression: decompression,
                slabBytes: state.slabBytes, note: { state.note($0) },
                ComparerRun(job: state, decompression: decompression))
        } catch {
            state.control.fail(.ring(error))
        }
    }

    private struct ComparerRun: QueueUser {
        let job: SharedComparison
        let decompression: (any DecompressionDriver)?

        func run<Queue: RequestQueue & ~Copyable>(over queue: consuming Queue) {
            var comparer = Comparer(job: job, queue: queue, decompression: decompression)
            comparer.run()
            job.add(comparer.statistics)
        }
    }
}
