public import BlockStorage
public import DirtyBitmap
internal import Synchronization

/// A job that runs: the right to say how far it is, and the lock that says that it lives.
///
/// Letting go of it, or the end of the process, gives the lock back and leaves the record as the
/// last checkpoint has it, to be resumed. Any thread may call its methods, one at a time.
public final class StoreJob: Sendable {
    /// As it was when the job began or was resumed.
    public let record: StoredJob
    /// What the bitmap knew no longer when the job began: something else had cleared the bitmap in
    /// the image, or made it anew.
    public let forgottenTargets: [StoredTarget]
    private let store: BitmapStore
    private let progress: Mutex<Progress>

    private struct Progress: Sendable {
        /// Nil once the job has ended.
        var claim: (any JobClaim)?
        /// What the file had as remaining when this process last wrote it; nil: not known.
        var persisted: KnownBits?
    }

    init(
        store: BitmapStore, record: StoredJob, claim: any JobClaim,
        forgottenTargets: [StoredTarget] = []
    ) {
        self.forgottenTargets = forgottenTargets
        self.store = store
        self.record = record
        progress = Mutex(Progress(claim: claim, persisted: nil))
    }

    /// Notes what the file has, so that it need not be read for the first checkpoint.
    func remember(_ bits: KnownBits) {
        progress.withLock { $0.persisted = bits }
    }

    /// What is not known to be durable on the target: the work of a job that was resumed.
    ///
    /// - Complexity: O(words), and a read for each page that is neither clean nor full.
    public func loadRemaining() throws(BitmapStoreError) -> DirtyBitmap {
        try store.look { view throws(BitmapStoreError) -> DirtyBitmap in
            guard let job = view.catalog.jobs.first(where: { $0.id == record.id }) else {
                throw .noSuchJob(id: record.id, path: view.file.path)
            }
            return try view.reader.load(job.remaining)
        }
    }

    /// Notes what remains, after the target was flushed.
    ///
    /// - Parameter remaining: every byte that is to be copied and not durable on the target yet.
    ///   Bytes missing here count as copied from now on, also after a power cut.
    /// - Complexity: O(words); only pages that differ from the last checkpoint are written.
    public func checkpoint(_ remaining: borrowing DirtyBitmap) throws(BitmapStoreError) {
        let bits = SharedBits(remaining.copy())
        try advance(bits.bits, keeping: bits) { transaction, place throws(BitmapStoreError) in
            transaction.catalog.jobs[place].checkpointedAt = transaction.now
        }
    }

    /// Ends the job: its bitmap, and what its targets lack, become what the bitmap mode says, and
    /// the lock is given back.
    ///
    /// After a success the record is gone; after a failure it can be resumed. If this throws, the
    /// job goes on as if it had not been called.
    ///
    /// - Parameters:
    ///   - remaining: what is not durable on the target; nil: what the last checkpoint said. After
    ///     a success there is nothing; if there is, the target lacks it.
    ///   - bytesCopied: for the bitmap's `lastSuccess`; nil: as many as were planned.
    ///   - sourceWitness: the source's files as the job left them; empty where nobody knows.
    ///   - targetWitness: the target's, after the last write.
    ///   - sourceUnchanged: nothing was written to the source from before the job began until it
    ///     ended, so that a full mirror lacks nothing that any bitmap may know of.
    ///   - doubts: what stays in doubt of the target, because of what happened to either side
    ///     while the job ran.
    ///   - isProven: after a success: all of the target was copied or compared since this process
    ///     took the job up, so that nothing of it has to be taken on trust.
    /// - Returns: for a bitmap in an image, what has to be cleared there now, which is safe from
    ///   this moment on; nil: nothing.
    @discardableResult
    public func finish(
        _ ending: JobEnding, remaining: borrowing DirtyBitmap? = nil, bytesCopied: Int64? = nil,
        sourceWitness: [WriteWitness] = [], targetWitness: [WriteWitness] = [],
        sourceUnchanged: Bool = false, doubts: Set<TargetDoubt.Kind> = [], isProven: Bool = false
    ) throws(BitmapStoreError) -> DirtyBitmap? {
        precondition(bytesCopied ?? 0 >= 0, "a job can't have copied less than nothing")
        let written = Written(
            bytes: bytesCopied ?? record.planned, sourceWitness: sourceWitness,
            targetWitness: targetWitness, sourceUnchanged: sourceUnchanged, doubts: doubts,
            isProven: isProven)
        var cleared: DirtyBitmap?
        switch remaining {
        case .some(let bits):
            try advance(bits, keeping: nil) { transaction, place throws(BitmapStoreError) in
                cleared = try Self.end(ending, &transaction, place, written)
            }
        case .none:
            guard progress.withLock({ $0.claim != nil }) else {
                throw .noSuchJob(id: record.id, path: store.path)
            }
            try store.transact { transaction throws(BitmapStoreError) in
                let place = try transaction.index(ofJob: record.id)
                if ending == .success {
                    let layout = transaction.catalog.jobs[place].remaining.layout
                    transaction.catalog.jobs[place].remaining = .clean(layout)
                }
                cleared = try Self.end(ending, &transaction, place, written)
            }
        }
        release()
        return cleared
    }

    /// Ends the job as one that has done nothing, because of what it has written nothing is known
    /// to be right. The record goes: it can't be resumed.
    ///
    /// - Parameters:
    ///   - targetWitness, doubts: as for `finish`.
    ///   - isDistrusted: nothing at all is known of the target, because something else has written
    ///     it, or it was found to differ. To all bitmaps that know it, it lacks everything then,
    ///     and no other job to it can be resumed.
    public func giveUp(
        targetWitness: [WriteWitness], doubts: Set<TargetDoubt.Kind>, isDistrusted: Bool
    ) throws(BitmapStoreError) {
        guard progress.withLock({ $0.claim != nil }) else {
            throw .noSuchJob(id: record.id, path: store.path)
        }
        try store.transact { transaction throws(BitmapStoreError) in
            let place = try transaction.index(ofJob: record.id)
            let job = transaction.catalog.jobs[place]
            transaction.catalog.jobs[place].remaining = .dirty(job.remaining.layout)
            try transaction.endInFailure(jobAt: place, targetWitness, doubts)
            transaction.catalog.jobs.remove(at: place)
            transaction.noteLoss(ofBitmap: job.bitmap)
            if isDistrusted { try transaction.distrust(job.target) }
        }
        release()
    }

    /// Ends the job as one that has not begun: nothing was written, and the store becomes what it
    /// would be without it. Records that it has replaced don't come back.
    public func abandon() throws(BitmapStoreError) {
        try store.transact { transaction throws(BitmapStoreError) in
            _ = transaction.catalog.jobs.remove(at: try transaction.index(ofJob: record.id))
        }
        release()
    }

    private func release() {
        progress.withLock {
            $0.claim = nil
            $0.persisted = nil
        }
    }

    private static func end(
        _ ending: JobEnding, _ transaction: inout Transaction, _ place: Int, _ written: Written
    ) throws(BitmapStoreError) -> DirtyBitmap? {
        let job = transaction.catalog.jobs[place]
        let before = transaction.settledMarks(of: job)
        switch ending {
        case .success: try transaction.endInSuccess(jobAt: place, written)
        case .failure:
            try transaction.endInFailure(jobAt: place, written.targetWitness, written.doubts)
        }
        return try transaction.clearedInImage(by: job, since: before)
    }

    /// R := remaining, and what `body` does, in one transaction.
    ///
    /// - Parameter copy: of `remaining`, to be kept for the next time; nil if there is none.
    private func advance(
        _ remaining: borrowing DirtyBitmap, keeping copy: SharedBits?,
        _ body: (inout Transaction, Int) throws(BitmapStoreError) -> Void
    ) throws(BitmapStoreError) {
        try progress.withLock { progress throws(BitmapStoreError) -> Void in
            guard progress.claim != nil else {
                throw .noSuchJob(id: record.id, path: store.path)
            }
            let known = progress.persisted
            let tree = try store.transact { transaction throws(BitmapStoreError) in
                try transaction.requireSize(remaining.size)
                let place = try transaction.index(ofJob: record.id)
                let tree = try transaction.store(
                    remaining, in: transaction.catalog.jobs[place].remaining, known)
                transaction.catalog.jobs[place].remaining = tree
                try body(&transaction, place)
                return tree
            }
            progress.persisted = copy.map { KnownBits(tree: tree, copy: $0) }
        }
    }
}

/// A bitmap that is never changed, so that references to it can be kept.
final class SharedBits: Sendable {
    let bits: DirtyBitmap

    init(_ bits: consuming DirtyBitmap) { self.bits = bits }

    /// Nil if there are none.
    convenience init?(copying bits: borrowing DirtyBitmap?) {
        switch bits {
        case .some(let bits): self.init(bits.copy())
        case .none: return nil
        }
    }
}

/// What a tree has, word for word. It says nothing about any other tree: after a commit of which
/// nobody knows whether it happened, the file may have another one than expected.
struct KnownBits: Sendable {
    let tree: BitTree
    let copy: SharedBits
}
