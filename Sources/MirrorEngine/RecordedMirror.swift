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
/// cleared at the end by its `BitmapMode`, after the flush and never before. A job that succeeds
/// leaves no record; one without a bitmap makes none before its first checkpoint.
public final class RecordedMirror: Sendable {
    /// The job: progress, pause, resume, cancel, speed.
    public let job: MirrorJob
    /// What whoever runs the job should know of it beforehand, in sentences.
    public let notes: [String]
    /// The record that the job goes on from; nil if it began anew.
    public let resumed: StoredJob?

    private let mode: JobMode
    private let source: DeviceIdentity
    private let target: Disk
    private let records: RecordPlace
    private let writer: RecordWriter
    private let log: JobLog
    private let initial: InitialBits
    /// What the record of the job says, or would say.
    private let request: JobRequest
    /// The bitmap in the source's image that the job works on.
    private let taken: TakenBitmap?

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
        /// The named bitmap that the job works on, if any: of the image, if the source keeps
        /// bitmaps itself (`Disk.bitmaps`) and has one of this name, else of the store.
        public var bitmap: String?
        /// Work on a bitmap of the store, also if the image has one of the same name.
        public var ignoresImageBitmaps = false
        /// The image above which a top mirror copies; nil: it copies the first one.
        public var base: FilePath?
        /// What becomes of the bitmap at the end; nil: `.onSuccess` or, for a job that is resumed,
        /// what it was begun with, which can't be changed. Without a bitmap it has to be nil.
        public var bitmapMode: BitmapMode?
        /// Work on a bitmap although its last success wrote another target.
        public var allowNewTarget = false
        /// Nanoseconds between checkpoints; nil for none.
        public var checkpointInterval: Int64? = 5_000_000_000
        /// Keep what was dirty at the beginning for `plannedBits`.
        public var remembersPlan = false
        /// How the job copies.
        public var options = MirrorOptions()

        /// A job of this mode, with defaults for all else.
        public init(_ mode: JobMode) { self.mode = mode }
    }

    init(
        from source: Disk, to target: Disk, _ request: Request,
        records: RecordPlace, record: StoreJob?, resumed: StoredJob?,
        working: consuming DirtyBitmap, taken: TakenBitmap? = nil, notes: [String] = [],
        logger: Logger?
    ) throws(MirrorError) {
        let jobRequest = Self.jobRequest(from: source, to: target, request)
        let initial = InitialBits(
            record == nil || request.remembersPlan ? working.copy() : nil)
        self.initial = initial
        self.request = jobRequest
        log = JobLog(logger)
        let writer = RecordWriter(record, log: log) {
            () throws(BitmapStoreError) in
            try records.open(for: source.identity).beginJob(jobRequest, working: initial.bits)
        }
        job = try MirrorJob(
            from: source, to: target, working: working, options: request.options,
            checkpoints: Checkpoints(every: request.checkpointInterval) { writer.keep($0) },
            logger: logger)
        self.taken = taken
        self.records = records
        self.source = source.identity
        self.target = target
        mode = request.mode
        self.resumed = resumed
        self.notes = notes
        self.writer = writer
    }

    /// What was dirty at the beginning, for a record that is made later.
    private final class InitialBits: Sendable {
        let bits: DirtyBitmap?
        init(_ bits: consuming DirtyBitmap?) { self.bits = bits }
    }

    /// What was dirty when the job began or was resumed, if its request asked to remember that.
    public func plannedBits() -> DirtyBitmap? {
        switch initial.bits {
        case .some(let bits): bits.copy()
        case nil: nil
        }
    }

    static func jobRequest(
        from source: Disk, to target: Disk, _ request: Request
    ) -> JobRequest {
        let isInImage =
            !request.ignoresImageBitmaps && request.bitmap.map { source.hasBitmap($0) } ?? false
        var result = JobRequest(
            mode: request.mode, bitmap: isInImage ? nil : request.bitmap.map { .stored($0) },
            bitmapMode: isInImage ? .onSuccess : request.bitmapMode ?? .onSuccess,
            source: source.identity, sourcePath: FilePath(source.resolvedPath),
            target: target.identity, targetPath: FilePath(target.resolvedPath))
        result.sourceWitness = source.witness
        result.targetWitness = target.witness
        result.allowsUnknownTarget = request.allowNewTarget
        return result
    }

    /// How a recorded mirror ended.
    public struct Report: Sendable {
        /// What the job did.
        public let mirror: MirrorReport
        /// The store that has a record to go on from; nil if there is none.
        public let resumableFrom: FilePath?
        /// Bytes that resuming would not have to copy again.
        public let saved: Int64
        /// Why the end could not be recorded: the bitmap is as it was, and says more than need be.
        public let recordError: MirrorError?

        init(
            _ mirror: MirrorReport, resumableFrom: FilePath? = nil, saved: Int64 = 0,
            recordError: MirrorError? = nil
        ) {
            self.mirror = mirror
            self.resumableFrom = resumableFrom
            self.saved = saved
            self.recordError = recordError
        }

        /// The end of a job that has no record.
        public init(unrecorded mirror: MirrorReport) { self.init(mirror) }
    }

    /// Runs the job and records its end. Cancelling the task cancels the job.
    public func run() async -> Report {
        let report = await job.run()
        return await WorkerThread.result { self.record(report) }
    }

    /// The same on the caller's thread.
    public func runAndWait() -> Report { record(job.runAndWait()) }

    /// Bitmaps that know the target hear of the job. A full mirror leaves nothing to resume on its
    /// target, whoever was interrupted there; and a store that was made for a record alone goes
    /// with it. A store that does not allow that, or is of another disk, makes the mirror no worse:
    /// who uses it will hear of it.
    private func forgetWhatIsDone() {
        guard case .path = records else { return }
        do throws(BitmapStoreError) {
            guard let store = try records.existing(for: source) else { return }
            try store.noteUnrecordedJob(request, .success, targetWitness: target.witness)
            try store.removeFileIfEmpty()
        } catch {
            log.leftBehind(error)
        }
    }

    private func record(_ report: MirrorReport) -> Report {
        guard let taken else { return recordInStore(report) }
        let success = report.outcome.isMirrored ? recordInStore(report) : nil
        do throws(StorageError) {
            let isCleared = try taken.settle(
                hasSucceeded: report.outcome.isMirrored, undone: job.undone())
            if let success { return success }
            return isCleared ? dropRecord(report) : recordInStore(report)
        } catch {
            let recorded = success ?? recordInStore(report)
            return Report(
                report, resumableFrom: recorded.resumableFrom, saved: recorded.saved,
                recordError: .storage(error))
        }
    }

    /// Ends a failed job without a record: what its bitmap says now is all that is left to do, and
    /// the image has changed with it, so that the job could not be resumed.
    private func dropRecord(_ report: MirrorReport) -> Report {
        do throws(BitmapStoreError) {
            guard let record = try writer.close(isNeeded: false) else { return Report(report) }
            try record.finish(.failure, remaining: nil)
            guard let store = try records.existing(for: source) else { return Report(report) }
            try store.forgetJobs { $0.id == record.record.id }
            if case .path = records { try store.removeFileIfEmpty() }
            return Report(report)
        } catch {
            return Report(report, recordError: .store(error))
        }
    }

    private func recordInStore(_ report: MirrorReport) -> Report {
        do throws(BitmapStoreError) {
            if case .mirrored = report.outcome {
                if let record = try writer.close(isNeeded: false) {
                    try record.finish(
                        .success, remaining: nil, targetWitness: target.witness)
                }
                forgetWhatIsDone()
                return Report(report)
            }
            let undone = job.undone()
            let left = undone.dirtyBytes ?? report.planned
            guard
                let record = try writer.close(isNeeded: left < report.planned)
            else { return Report(report) }
            switch undone {
            case .some(let bits):
                try record.finish(
                    .failure, remaining: bits.copy(), targetWitness: target.witness)
            case nil: try record.finish(.failure, targetWitness: target.witness)
            }
            // Without an answer the record says what it said when this job took it up.
            let kept = record.record
            let remaining = undone.dirtyBytes ?? kept.remainingBytes
            return Report(
                report, resumableFrom: records.path, saved: max(kept.planned - remaining, 0))
        } catch {
            return Report(report, recordError: .store(error))
        }
    }
}

extension Optional where Wrapped == DirtyBitmap {
    fileprivate var dirtyBytes: Int64? {
        switch self {
        case .some(let bits): bits.dirtyBytes
        case nil: nil
        }
    }
}
