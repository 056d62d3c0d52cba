internal import BitmapStore
internal import BlockStorage
public import DirtyBitmap
public import Logging
public import Ring
internal import Synchronization

/// One mirror, from its first read to its last flush.
///
/// A job runs once. Any thread may steer and watch it while it runs.
public final class MirrorJob: Job {
    /// Tells the job from all others of this process.
    public let id = JobID()
    private let source: Disk
    private let target: Disk
    private let options: MirrorOptions
    private let sizing: JobSizing
    private let state: SharedJob
    private let makeDecompressing: MakeDecompressing
    private let queueSetup = Mutex<QueueSetup?>(nil)
    /// The bitmaps kept of the target in which it was marked what the job writes; nil: none yet.
    private let markedBitmaps = Mutex<[String]?>(nil)
    /// All that the job may write.
    private let writes: Mutex<FixedBits>
    /// The target's files before the first write.
    private let targetBefore: [WriteWitness]

    /// A job that makes all of `target` read as `source` does.
    public static func full(
        from source: Disk, to target: Disk,
        options: MirrorOptions = MirrorOptions(), logger: Logger? = nil
    ) throws(MirrorError) -> MirrorJob {
        let size = source.geometry.size
        var working = DirtyBitmap(size: size, granularity: Granularity(forSize: size))
        working.setAll()
        return try MirrorJob(
            from: source, to: target, working: working, options: options, logger: logger)
    }

    /// A job that makes `target` read as `source` does where `dirty` says so, and touches nothing
    /// else of it. The target has to hold a mirror as of when `dirty` was clean.
    ///
    /// The job works on a copy of `dirty`. Where its granularity is finer than what both sides can
    /// read and write, the copy is rounded outward to that.
    ///
    /// - Throws: `.invalidOption` also for a bitmap of another size than the source's.
    public static func incremental(
        from source: Disk, to target: Disk, dirty: borrowing DirtyBitmap,
        options: MirrorOptions = MirrorOptions(), logger: Logger? = nil
    ) throws(MirrorError) -> MirrorJob {
        try MirrorJob(
            from: source, to: target, working: dirty.copy(), options: options, logger: logger)
    }

    package init(
        from source: Disk, to target: Disk, working: consuming DirtyBitmap,
        options: MirrorOptions, checkpoints: Checkpoints = Checkpoints(),
        live: LiveSource? = nil, logger: Logger?,
        decompressing: @escaping MakeDecompressing = standardDecompressing
    ) throws(MirrorError) {
        let map: (any TargetMap)?
        do throws(StorageError) {
            map = try target.targetMap(size: source.geometry.size)
        } catch {
            throw .storage(error)
        }
        guard let targetMap = map else {
            preconditionFailure("the target was not opened for writing")
        }
        guard working.size == source.geometry.size else {
            throw .invalidOption(
                "the bitmap is of a disk of \(working.size) bytes, and \(source.path) has "
                    + "\(source.geometry.size)")
        }
        sizing = try JobSizing(options, source: source.geometry, target: target.geometry)
        self.source = source
        self.target = target
        self.options = options
        makeDecompressing = decompressing
        let plan = JobPlan(
            source: source.sourceMap(), target: targetMap, options: options,
            requestSize: sizing.requestSize, depth: sizing.depth,
            bufferBytes: sizing.bufferBytes, granularity: working.granularity.bytes,
            dropSourceCache: source.caching != .direct,
            dropTargetCache: target.caching != .direct && target.canWriteBack)
        let working = working.coarsened(to: plan.blockSize)
        writes = Mutex(FixedBits(working.copy()))
        targetBefore = target.witnessBeforeWriting()
        state = SharedJob(
            plan: plan, working: working,
            speedLimit: options.speedLimit, workers: options.rings, checkpoints: checkpoints,
            live: live,
            requireNothingLost: { () throws(MirrorError) in try target.requireNothingLost() },
            log: JobLog(logger))
    }

    /// How the job's requests are to reach the kernel; the report tells how they did.
    public var io: IOMethod { options.io }

    /// What the target is not known to hold on stable storage, after the job has ended; nil if that
    /// is all that was dirty at its beginning.
    package func undone() -> DirtyBitmap? { state.undone() }

    /// Whether the target has lost what its flushes had promised, or something else has written
    /// it, so that nothing is known of it.
    var hasHiddenLosses: Bool { state.hasHiddenLosses }

    /// What went wrong behind the end of the copy, and takes nothing from it; nil: nothing.
    var shortfall: MirrorError? { state.shortfall.withLock { $0 } }

    /// Throws what keeps jobs from reaching the kernel here by this method: an old kernel, a
    /// sysctl, a container, a limit on descriptors or memory. A job finds that out by itself; this
    /// is for whoever wants to know before a target is made.
    public static func check(_ method: IOMethod) throws(MirrorError) {
        do throws(RingError) { try method.check() } catch { throw .ring(error) }
    }

    private var allWrites: FixedBits { writes.withLock { $0 } }

    /// Makes this all that the job copies, before it is run: the rest was found to be right.
    func narrow(to bits: consuming DirtyBitmap) {
        let bits = FixedBits(state.narrow(to: bits))
        writes.withLock { $0 = bits }
    }

    /// Whether nothing was lost of what the target has, as far as can be told. If something was,
    /// the job fails, and nothing is known of the target.
    func settleLosses() -> Bool { state.settleLosses() }

    /// The report of a job that is not run, because of an error that it was told before.
    func unrun() -> MirrorReport { report(seconds: 0, cpuSeconds: 0) }

    private func refused(_ error: MirrorError) -> MirrorReport {
        state.control.fail(error)
        return unrun()
    }

    /// Runs the job on threads of its own and waits for its end.
    ///
    /// Before its first byte, what it writes is marked in the bitmaps that are kept of the target.
    public func runAndWait() -> MirrorReport {
        defer { state.control.end() }
        var report = copy()
        do throws(MirrorError) {
            let isAllMarked = try markWritten()
            report.doubts = target.devices.doubtsAboutWriters()
            target.devices.endWatch()
            if !isAllMarked, target.devices.mayHaveOtherWriter { _ = try markWritten() }
        } catch {
            target.devices.endWatch()
            if report.outcome.isMirrored { report.outcome = .failed(error) }
        }
        return report
    }

    /// The same for a job of which this is the copying: it goes on afterwards, calls `markWritten`
    /// when nothing is written any more, and says itself when it has ended.
    func copy() -> MirrorReport {
        let start = Clock.now
        let processor = Clock.processor
        target.devices.watchWriters()
        source.readAnew()
        target.readAnew()
        do throws(BitmapStoreError) {
            let marked = try TargetMarks.begin(allWrites.bits, of: target)
            markedBitmaps.withLock { $0 = marked }
        } catch {
            // Another store may have been told already.
            try? TargetMarks.end(allWrites.bits, of: target, targetBefore)
            return refused(.store(error))
        }
        state.log.started(state.plan, bytes: state.planned)
        let pool = DecompressionPool(makeDecompressing)
        WorkerCrew.run(state, workers: options.rings, method: options.io) {
            () throws(RingError) in
            try pool.makeDecompressionDriver()
        } note: { [self] setup in
            queueSetup.withLock { $0 = setup }
            if let reason = setup.plainBuffersReason { state.log.plainBuffers(reason) }
            if let refusal = setup.refusal { state.log.noRing(refusal) }
        }
        pool.close()
        if state.isFlushed { state.settleLosses() }
        return report(
            seconds: Double(Clock.now - start) / 1e9, cpuSeconds: Clock.processor - processor)
    }

    /// Tells the bitmaps that are kept of the target what was written, when that is over: all, if
    /// something else may have written there, because where is not known. To be called again when
    /// that turns out later.
    ///
    /// - Returns: whether that was all.
    func markWritten() throws(MirrorError) -> Bool {
        guard markedBitmaps.withLock({ $0 != nil }) else { return false }
        var bits = allWrites.bits.copy()
        let isShared = target.devices.mayHaveOtherWriter
        var failure: MirrorError?
        if isShared {
            bits.setAll()
            do throws(StorageError) { try target.markOwnBitmaps() } catch {
                failure = .storage(error)
            }
        }
        do throws(BitmapStoreError) { try TargetMarks.end(bits, of: target, targetBefore) } catch {
            failure = failure ?? .store(error)
        }
        if let failure { throw failure }
        return isShared
    }

    /// It copies one disk to another.
    public var kind: JobKind { state.live == nil ? .mirror : .live }

    /// Where the job is; if it is the copying of another one, such as a `RecordedMirror`, where
    /// that is.
    public var phase: JobPhase { control.phase }

    /// How the job is steered, also by what goes on when all is copied.
    var control: JobControl { state.control }

    /// Does what a verb asks for, from any thread.
    ///
    /// - Throws: if it means nothing in the phase that the job was in: it has no effect then.
    public func apply(_ verb: JobVerb) throws(JobVerbError) {
        try requireKind(allows: verb)
        try state.control.apply(verb)
    }

    /// Stops the job: what is in flight completes, the target is flushed, the rest stays undone.
    public func cancel() { state.control.cancel() }

    /// Starts nothing new until `resume`. What is in flight completes.
    public func pause() { state.control.pause() }

    /// Goes on, also after a pause that an error policy made: what failed is tried again.
    public func resume() { state.control.resume() }

    /// Bytes a second from now on; nil for no limit.
    public func setSpeedLimit(_ bytesPerSecond: Int64?) { state.control.speed.set(bytesPerSecond) }

    /// How far the copying is.
    public var progress: JobProgress {
        let phase = phase
        return JobProgress(
            state.counters, phase, planned: state.planned, pauseState: control.pauseState,
            live: state.liveProgress)
    }

    private func report(seconds: Double, cpuSeconds: Double) -> MirrorReport {
        let counters = state.counters
        let setup = queueSetup.withLock { $0 }
        return MirrorReport(
            outcome: state.outcome(), planned: state.planned, done: counters.done.value,
            read: counters.read.value, written: counters.written.value,
            zeroed: counters.zeroed.value, skipped: counters.skipped.value,
            retries: state.retries, failures: state.failures.all, flushed: state.isFlushed,
            seconds: seconds, cpuSeconds: cpuSeconds, statistics: state.statistics,
            requestSize: sizing.requestSize,
            depth: sizing.depth, rings: options.rings, sourceCaching: source.caching,
            targetCaching: target.caching, io: setup?.method, ringRefusal: setup?.refusal,
            plainBuffersReason: setup?.plainBuffersReason,
            markedBitmaps: markedBitmaps.withLock { $0 } ?? [])
    }
}
