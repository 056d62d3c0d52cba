internal import BlockStorage
internal import DirtyBitmap
internal import Ring

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
    private let io: IOMethod
    private let isWatched: Bool
    private let job = JobHandle()

    /// - Parameter isWatched: whether a write to either side while it is compared spoils the
    ///   answer.
    init(
        _ kind: MirrorVerification, _ source: Disk, _ target: Disk, io: IOMethod, isWatched: Bool
    ) {
        self.io = io
        self.kind = kind
        self.isWatched = isWatched
        self.source = source
        self.target = target
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
        job.run(
            CompareJob(
                source, target, only: bits, isPrefix: true, isWatched: isWatched, io: io))
    }

    /// Stops the comparison, also one that has yet to begin.
    func cancel() { job.cancel() }

    /// What is compared and what of it was; nil while no comparison runs.
    var progress: (planned: Int64, done: Int64)? { job.progress }
}
