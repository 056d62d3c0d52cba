public import BitmapStore
internal import BlockStorage
public import DirtyBitmap
internal import Logging
internal import Ring
public import SystemPackage

/// A mirror whose progress outlives its process: a job, and its record in a bitmap store.
///
/// Every few seconds the job flushes its target and records what is still to be copied, so that an
/// interrupted mirror goes on instead of beginning again. If it works on a named bitmap, that is
/// cleared at the end by its `BitmapMode`, after the flush, the verification and a last look at
/// both sides, and never before. A job that succeeds leaves no record; one without a bitmap makes
/// none before its first checkpoint.
public final class RecordedMirror: Job {
    /// The copying. It has the phases of the mirror, and ends with it.
    public let job: MirrorJob
    /// What makes the claim at the end weaker than the user may expect, in sentences.
    public let warnings: [String]
    /// The record that the job goes on from; nil if it began anew.
    public let resumed: StoredJob?

    let request: Request
    let source: Disk
    let target: Disk
    let records: RecordPlace
    let writer: RecordWriter
    let log: JobLog
    /// What the record of the job says, or would say.
    let record: JobRequest
    /// The bitmap in the source's image that the job works on.
    let imageMarks: ImageMarks?
    /// What the claim at the end rests on, as far as it is known at the beginning.
    let evidence: [MirrorEvidence]
    /// Finds what differs, if only that is copied.
    let finder: DifferenceFinder?
    let verifier: Verifier
    /// What tells of writes to a source that is in use; nil: it is not, or that is accepted.
    let live: KernelChanges?
    /// What was dirty at the beginning, also for a record that is made later.
    private let plan: FixedBits

    /// Where the records of jobs are kept: a store that is open, or one that is opened or made when
    /// there is something to keep.
    public enum RecordPlace: Sendable {
        /// This store.
        case store(BitmapStore)
        /// The store at this path, for the source of the job.
        case path(FilePath)
    }

    /// What a job has to know besides its two sides.
    public struct Request: Sendable {
        /// What is copied; `.incremental` with a bitmap or a map.
        public var mode: JobMode
        /// The named bitmap that the job works on, if any: see `Disk.reference(toBitmap:)`.
        public var bitmap: String?
        /// Work on a bitmap of the store, also if the image has one of the same name.
        public var ignoresImageBitmaps = false
        /// The image above which a top mirror copies; nil: it copies the first one.
        public var base: FilePath?
        /// What becomes of the bitmap at the end; nil: `.onSuccess` or, for a job that is resumed,
        /// what it was begun with, which can't be changed. Without a bitmap it has to be nil.
        public var bitmapMode: BitmapMode?
        /// Compare both sides first, and write only what differs: a full mirror to a target that is
        /// nearly one already.
        public var onlyDifferences = false
        /// Accept a target that the bitmap does not know, or that something else has written: the
        /// caller answers for it that it holds the mirror that the bitmap goes on from. A sample is
        /// compared all the same.
        public var allowNewTarget = false
        /// The source may be written while the job runs: the copy then mixes points in time, which
        /// is no failure.
        public var allowSourceInUse = false
        /// The source is in use, and is mirrored as it is at one moment; nil: it stands still.
        public var live: LiveRequest?
        /// What is compared after the flush. A difference is a failure.
        public var verification = MirrorVerification.none
        /// Nanoseconds between checkpoints; nil for none.
        public var checkpointInterval: Int64? = 5_000_000_000
        /// How the job copies.
        public var options = MirrorOptions()

        /// A job of this mode, with defaults for all else.
        public init(_ mode: JobMode) { self.mode = mode }
    }

    init(
        _ start: consuming MirrorStart, record: StoreJob?, working: consuming DirtyBitmap,
        resumed: StoredJob? = nil, logger: Logger?
    ) throws(MirrorError) {
        let jobRequest = start.record
        let (records, identity) = (start.records, start.source.identity)
        log = JobLog(logger)
        let plan = FixedBits(working.copy())
        self.plan = plan
        // A job on a bitmap has its record from the beginning, or no store can be made for one.
        let begin: RecordWriter.Begin = { () throws(BitmapStoreError) in
            try records.open(for: identity).beginJob(jobRequest, working: plan.bits.copy())
        }
        let isResumable = start.request.live == nil
        let writer = RecordWriter(
            record, log: log, begin: jobRequest.bitmap == nil && isResumable ? begin : nil)
        live = start.live
        job = try MirrorJob(
            from: start.source, to: start.target, working: working,
            options: start.request.options,
            checkpoints: Checkpoints(every: start.request.checkpointInterval) { writer.keep($0) },
            live: start.live.map { LiveSource($0, start.request.livePlan($0)) },
            logger: logger)
        self.writer = writer
        self.resumed = resumed
        self.records = records
        self.record = jobRequest
        request = start.request
        source = start.source
        target = start.target
        imageMarks = start.imageMarks
        evidence = start.evidence
        warnings = start.warnings
        finder =
            start.request.onlyDifferences
            ? DifferenceFinder(start.source, start.target, for: job, start.request) : nil
        verifier = Verifier(
            start.request.verification, start.source, start.target, of: job,
            isWatched: !start.request.allowSourceInUse && start.live == nil, live: start.live)
    }

    /// What was dirty when the job began or was resumed.
    public func plannedBits() -> DirtyBitmap { plan.bits.copy() }

    /// The one of its copying.
    public var id: JobID { job.id }

    /// It copies one disk to another, which may be in use.
    public var kind: JobKind { job.kind }

    /// Where the mirror is, from its making until its end is recorded.
    public var phase: JobPhase { job.phase }

    /// How far the mirror is: what is copied or, from then on, what is compared.
    public var progress: JobProgress {
        let progress = job.progress
        if let comparing = finder?.progress { return progress.verifying(comparing, as: .comparing) }
        switch progress.phase {
        case .verifying, .settling, .ended:
            return verifier.progress.map { progress.verifying($0) } ?? progress
        default: return progress
        }
    }

    /// The one of its copying.
    public var speedLimit: Int64? { job.speedLimit }

    /// Does what a verb asks for, from any thread. A comparison at the end can't be paused, only
    /// stopped.
    ///
    /// - Throws: if it means nothing in the phase that the mirror was in: it has no effect then.
    public func apply(_ verb: JobVerb) throws(JobVerbError) { try job.apply(verb) }

    /// Stops the mirror: what is in flight completes, the target is flushed, the rest stays undone.
    public func cancel() { job.cancel() }

    /// Looks whether the target's own bitmaps can be marked, which running the job begins with.
    public func checkTargetBitmaps() throws(MirrorError) {
        do throws(BitmapStoreError) { try TargetMarks.check(target) } catch { throw .store(error) }
    }

    /// Copies, verifies, and records how that ended.
    public func runAndWait() -> Report {
        defer { job.control.end() }
        var report = copy()
        guard report.outcome.isMirrored else {
            _ = letWritersGo()
            job.control.settle()
            return recordFailure(report, copied: false)
        }
        var comparison = verifier.run(copiedBits())
        let cutShort = comparison.flatMap { shortfall(of: $0) }
        if cutShort != nil { comparison = nil }
        // Nothing that follows is to be waited for.
        let stillHeld = letWritersGo()
        job.control.settle()
        var unmarked: MirrorError?
        let look: EndLook
        do throws(MirrorError) { look = try lookAtEnd(comparison, &unmarked) } catch {
            report.outcome = .failed(error)
            return recordFailure(report, copied: true, comparison)
        }
        if let outcome = outcome(of: comparison) ?? look.failure {
            report.outcome = outcome
            return recordFailure(report, copied: true, comparison, look)
        }
        if let unmarked {
            // What was copied is right all the same.
            report.outcome = .failed(unmarked)
            return recordFailure(report, copied: false, comparison, look)
        }
        let claim = claim(report, comparison, look)
        var ended = recordSuccess(report, look, comparison, claim)
        ended.shortfalls = [cutShort, stillHeld ?? job.shortfall].compactMap(\.self)
        // Whoever writes the target next, when this job has let go of it, leaves a trace.
        for witness in look.targetWitness { witness.waitUntilWritesShow() }
        return ended
    }

    /// - Returns: what holds the writers back still, although it should not.
    private func letWritersGo() -> MirrorError? {
        guard let error = live?.resume() else { return nil }
        log.writersStillHeld(error)
        return error
    }

    /// What keeps a comparison from counting that was made while the writers were to be held back;
    /// nil: nothing, or nobody was. The mirror was proven before it, and stays one.
    private func shortfall(of comparison: CompareReport) -> MirrorError? {
        guard let live else { return nil }
        if case .cancelled = comparison.error { return nil }
        do throws(MirrorError) {
            if case .proven = try live.provenMoment() { return nil }
        } catch {
            // Not all is known of what was written meanwhile.
        }
        // What differs where nobody has written since is wrong, whatever came later.
        if let differing = verifier.differences(), !live.takeWritten(outOf: differing).isClean {
            return nil
        }
        let (planned, done) = (verifier.progress?.planned ?? 0, comparison.compared)
        guard done > 0 else { return .live(.comparisonCutShort(seconds: nil)) }
        let seconds = comparison.seconds * Double(planned) / Double(done)
        return .live(.comparisonCutShort(seconds: Int64(min(seconds.rounded(.up), 1e9))))
    }

    /// - Parameter unmarked: why a bitmap of the target could not be told what was written.
    /// - Throws: what makes all that was copied worth nothing, whatever a comparison has found.
    private func lookAtEnd(
        _ comparison: CompareReport?, _ unmarked: inout MirrorError?
    ) throws(MirrorError) -> EndLook {
        var isAllMarked = false
        // What that writes to the target itself, the look has to see.
        do throws(MirrorError) { isAllMarked = try job.markWritten() } catch { unmarked = error }
        var look = try EndLook(self, comparison)
        if !isAllMarked, target.devices.mayHaveOtherWriter {
            do throws(MirrorError) { _ = try job.markWritten() } catch { unmarked = error }
            look.targetWitness = targetWitness(target.witnessIfReached())
        }
        // The comparison may have found what something else has written.
        try target.devices.requireNoOtherWriter()
        return look
    }

    private func cause(of offset: Int64) -> DifferenceCause {
        if plannedBits().isDirty(at: offset) {
            return request.options.targetIsZero ? .zerosVouched : .lost
        }
        return switch request.mode {
        case .top: .below
        case .incremental where request.bitmap == nil: .unmapped
        case .full, .incremental: .unmarked
        }
    }

    /// What a comparison makes of a job whose copy succeeded; nil: nothing.
    private func outcome(of comparison: CompareReport?) -> MirrorOutcome? {
        guard let comparison else { return nil }
        // What was found out counts, whatever ended the comparison afterwards.
        if let offset = comparison.firstDifference {
            return .failed(
                .verificationFailed(
                    source: source.path, target: target.path, offset: offset,
                    bytes: comparison.differingBytes,
                    cause: cause(of: offset)))
        }
        if case .cancelled = comparison.error { return .cancelled }
        return comparison.error.map { .failed(.verificationIncomplete($0.problem)) }
    }
}
