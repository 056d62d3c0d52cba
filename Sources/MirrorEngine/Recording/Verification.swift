internal import BlockStorage
internal import DirtyBitmap
internal import Ring
internal import Synchronization

/// What a job compares after its flush, before anything is called a mirror.
public enum MirrorVerification: Sendable, Hashable {
    case none
    /// What was copied.
    case copied
    /// All of both sides.
    case all
}

/// The comparison at the end of a job.
final class Verifier: Sendable {
    private let source, target: Disk
    private let kind: MirrorVerification
    private let isWatched: Bool
    private let purpose: ComparisonPurpose
    private let io: IOMethod
    /// Of the job. What stops that stops the comparison, also one that has yet to begin.
    private let control: JobControl
    private let comparison = Mutex<CompareJob?>(nil)

    /// - Parameters:
    ///   - job: what has copied.
    ///   - isWatched: whether a write to either side while it is compared spoils the answer.
    ///   - live: what has to hold the writers back as long as it is compared.
    init(
        _ kind: MirrorVerification, _ source: Disk, _ target: Disk, of job: MirrorJob,
        isWatched: Bool, live: KernelChanges?
    ) {
        self.kind = kind
        var purpose = ComparisonPurpose()
        if let live {
            purpose.interruption = { live.isHeld ? nil : .live(.notHeld(attempts: 1)) }
        }
        self.purpose = purpose
        self.isWatched = isWatched
        self.source = source
        self.target = target
        io = job.io
        control = job.control
    }

    /// Compares; nil if nothing was asked for, or nothing was copied that could be compared.
    ///
    /// - Parameter planned: what was copied.
    func run(_ planned: borrowing DirtyBitmap) -> CompareReport? {
        switch kind {
        case .none: return nil
        case .copied:
            guard planned.dirtyBytes > 0 else { return nil }
            return compare(planned.copy())
        case .all:
            var all = DirtyBitmap(size: planned.size, granularity: planned.granularity)
            all.setAll()
            return compare(all)
        }
    }

    private func compare(_ bits: consuming DirtyBitmap) -> CompareReport {
        target.devices.beginComparison()
        let job = CompareJob(
            source, target, only: bits, isPrefix: true, isWatched: isWatched, io: io,
            control: control, purpose: purpose)
        // Whoever sees the phase sees the progress of the comparison.
        comparison.withLock { $0 = job }
        control.beginVerification()
        return job.compare()
    }

    /// Where both sides were found to differ; nil before there is a comparison.
    func differences() -> DirtyBitmap? { comparison.withLock { $0 }?.differences() }

    /// How far the comparison is; nil before there is one.
    var progress: JobProgress? { comparison.withLock { $0 }?.progress }
}
