internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import Ring
internal import Synchronization

/// The comparison with which a mirror begins that writes only what differs.
///
/// What it finds to be the same is taken out of the copying and counts as done, as if it had been
/// copied and flushed. That is as good as copying it, for these reasons:
///
/// - The target is watched for other writers from before this comparison until the last look of the
///   job (`MirrorStart`). Besides, nothing at all may write it while it is compared, so that its
///   own times and counters have to stay: that shows some of what the kernel does not tell.
/// - The source was looked at before (`JobRequest.sourceWitness`), and is looked at when all is
///   copied (`EndLook`), so that a write to what was compared shows like one to what was copied.
/// - Both sides are read from their storage and not from what a page cache kept of a write that
///   failed, and both are flushed before anything is taken out: a record that says less than all
///   is made after that.
/// - What can't be read of the target is not known to be the same, and is copied.
///
/// Until then the record of the job says that everything is to be copied, or all that was left of
/// a job that is resumed. Whoever resumes it may compare what is left once more, or just copy it.
final class DifferenceFinder: Sendable {
    private let source, target: Disk
    private let job: MirrorJob
    private let options: MirrorOptions
    /// The source may be written meanwhile.
    private let allowsSourceInUse: Bool
    private let state = Mutex(State())

    private struct State {
        var comparison: CompareJob?
        var report: CompareReport?
        /// What is copied; nil: not known yet.
        var found: FixedBits?
        var isOver = false
    }

    /// - Parameter job: what copies afterwards.
    init(
        _ source: Disk, _ target: Disk, for job: MirrorJob, _ request: RecordedMirror.Request
    ) {
        self.source = source
        self.target = target
        self.job = job
        options = request.options
        allowsSourceInUse = request.allowSourceInUse
    }

    /// Compares what the job has planned, and leaves to it what differs. If the comparison is
    /// stopped, what was not compared is left, too: the job notes it in its record.
    ///
    /// - Returns: whether the job may run. If not, it has an error.
    func narrow(_ planned: borrowing DirtyBitmap) -> Bool {
        defer { state.withLock { $0.isOver = true } }
        let control = job.control
        control.start()
        if !allowsSourceInUse { source.readAnew() }
        let sourceBefore = source.settledWitness()
        let targetBefore = target.freshWitness()
        let comparison = CompareJob(
            source, target, only: finely(planned), isPrefix: true, isWatched: false,
            io: options.io, control: control, purpose: purpose)
        state.withLock { $0.comparison = comparison }
        let report = comparison.compare()
        state.withLock { $0.report = report }
        if case .cancelled? = control.verdict {
            // What was compared is worth keeping.
        } else if control.verdict != nil {
            return false
        }
        do throws(MirrorError) {
            try target.devices.requireNoOtherWriter()
            if case .written(let how) = target.evidence(since: targetBefore) {
                throw .writtenMeanwhile(path: target.path, how: how)
            }
            // The same is asked at the end. There is no need to copy first.
            if !allowsSourceInUse, case .written(let how) = source.evidence(since: sourceBefore) {
                throw .writtenMeanwhile(path: source.path, how: how)
            }
            try source.flush()
        } catch {
            control.fail(error)
            return false
        }
        guard job.settleLosses() else { return false }
        let found = FixedBits(comparison.undecided())
        job.narrow(to: found.bits.copy())
        state.withLock { $0.found = found }
        return true
    }

    /// Bytes that can't be read of the source are left to the job, which does with them what its
    /// policy says, unless that is to fail: then it need not wait for that.
    private var purpose: ComparisonPurpose {
        var purpose = ComparisonPurpose()
        purpose.acceptsUnreadableFirst =
            options.sourceErrorPolicy == .ignore || options.sourceErrorPolicy == .stop
        purpose.acceptsUnreadableSecond = true
        purpose.isPaced = true
        return purpose
    }

    /// The same in granules of 4 KiB, or larger ones if the bitmap would take more than 8 MiB: what
    /// is written is what differs, and not its neighbours.
    private func finely(_ planned: borrowing DirtyBitmap) -> DirtyBitmap {
        var bits = DirtyBitmap(
            size: planned.size,
            granularity: min(
                Granularity(finestForSize: planned.size, bitsMax: 64 << 20), planned.granularity))
        bits.merge(sameSize: planned)
        return bits
    }

    /// How far the comparison is; nil before it begins and when it is over.
    var progress: JobProgress? {
        state.withLock { $0.isOver ? nil : $0.comparison }?.progress
    }

    /// What was found; nil if nothing was compared.
    var report: CompareReport? { state.withLock { $0.report } }

    /// What was to be copied; nil if the comparison has not come to its end.
    func bits() -> DirtyBitmap? {
        guard let found = state.withLock({ $0.found }) else { return nil }
        return found.bits.copy()
    }
}

extension RecordedMirror {
    /// Copies what is planned or, if that was asked for, what of it differs.
    func copy() -> MirrorReport {
        guard let finder else { return job.copy() }
        return finder.narrow(plannedBits()) ? job.copy() : job.unrun()
    }

    /// What was copied by a job that succeeded.
    func copiedBits() -> DirtyBitmap { finder?.bits() ?? plannedBits() }
}

extension RecordedMirror.Request {
    /// Refuses a request that says what differs and what does not at the same time.
    func checkDifferences() throws(MirrorError) {
        guard onlyDifferences else { return }
        guard mode == .full else {
            throw .invalidOption("only a full mirror can begin with a comparison of all")
        }
        guard !options.targetIsZero else {
            throw .invalidOption(
                "a target that is compared is not taken for zeros on anybody's promise")
        }
    }
}
