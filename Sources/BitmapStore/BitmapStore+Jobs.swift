internal import BlockStorage
public import DirtyBitmap
internal import SystemPackage

extension BitmapStore {
    /// Every job that runs or can be resumed, in the order in which they began.
    public func jobs() throws(BitmapStoreError) -> [StoredJob] {
        try look { view throws(BitmapStoreError) in
            var result: [StoredJob] = []
            for entry in view.catalog.jobs { result.append(try view.describe(entry)) }
            return result
        }
    }

    /// Records that a job begins, and makes its bitmap busy.
    ///
    /// A record of an interrupted job to the same target is dropped.
    ///
    /// - Parameter working: what the job will copy; nil: a copy of its bitmap, or everything at
    ///   64 KiB if it has none.
    /// - Throws: `noSuchBitmap`, `busy`, `inconsistent`, `targetBusy`, `sizesDiffer`.
    public func beginJob(
        _ request: JobRequest, working: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> StoreJob {
        switch working {
        case .none: return try begin(request) { _ in nil }
        case .some(let bits):
            let copy = SharedBits(bits.copy())
            var stored: BitTree?
            let job = try begin(request) { transaction throws(BitmapStoreError) in
                try transaction.requireSize(copy.bits.size)
                stored = try transaction.store(copy.bits)
                return stored
            }
            if let stored { job.remember(KnownBits(tree: stored, copy: copy)) }
            return job
        }
    }

    private func begin(
        _ request: JobRequest,
        _ working: (inout Transaction) throws(BitmapStoreError) -> BitTree?
    ) throws(BitmapStoreError) -> StoreJob {
        let (record, claim) = try transact {
            transaction throws(BitmapStoreError) -> (StoredJob, any JobClaim) in
            var bitmap: BitmapEntry?
            if let name = request.bitmap {
                let index = try transaction.index(of: name)
                try transaction.requireNoJob(index)
                try transaction.recover(bitmapAt: index)
                try transaction.requireConsistent(index)
            }
            try transaction.dropRecords(ofTarget: request.target)
            if let name = request.bitmap {
                bitmap = transaction.catalog.bitmaps[try transaction.index(of: name)]
            }
            guard
                transaction.catalog.jobs.count + transaction.catalog.recorders.count
                    < Catalog.jobsMax
            else { throw .tooManyBitmaps(path: path, limit: Catalog.jobsMax) }
            let bits: BitTree
            if let tree = try working(&transaction) ?? bitmap?.bits {
                bits = tree
            } else {
                bits = .dirty(try transaction.layout(.default))
            }
            let id = transaction.catalog.takeID()
            guard let claim = try file.claim(job: id) else {
                throw .jobRunning(id: id, holder: holder)
            }
            let entry = JobEntry(
                id: id, mode: request.mode, bitmap: bitmap?.id, bitmapMode: request.bitmapMode,
                source: request.source, sourcePath: request.sourcePath.string,
                sourceModified: request.sourceModified,
                target: request.target, targetPath: request.targetPath.string,
                startedAt: transaction.now, planned: bits.dirtyBytes, isOpen: true,
                holder: holder, taken: bitmap == nil ? nil : bits, remaining: bits,
                marked: bitmap.map { .clean($0.bits.layout) })
            transaction.catalog.jobs.append(entry)
            return (StoredJob(entry, in: transaction.catalog, isRunning: true), claim)
        }
        return StoreJob(store: self, record: record, claim: claim)
    }

    /// Takes up a job that died or failed: it goes on with what remained, and with what was marked
    /// since it began.
    ///
    /// - Throws: `noSuchJob`, `jobRunning`; `busy` if another job has its bitmap by now;
    ///   `inconsistent`.
    public func resumeJob(_ id: UInt64) throws(BitmapStoreError) -> StoreJob {
        let (record, claim) = try transact {
            transaction throws(BitmapStoreError) -> (StoredJob, any JobClaim) in
            let place = try transaction.index(ofJob: id)
            let job = transaction.catalog.jobs[place]
            if try transaction.isRunning(job) { throw .jobRunning(id: id, holder: job.holder) }
            if let index = transaction.catalog.bitmaps.firstIndex(where: { $0.id == job.bitmap }) {
                try transaction.requireNoJob(index)
                try transaction.recover(bitmapAt: index)
                try transaction.requireConsistent(index)
            }
            guard let claim = try file.claim(job: id) else {
                throw .jobRunning(id: id, holder: job.holder)
            }
            try transaction.reopen(jobAt: place, holder: holder)
            let entry = transaction.catalog.jobs[place]
            return (StoredJob(entry, in: transaction.catalog, isRunning: true), claim)
        }
        return StoreJob(store: self, record: record, claim: claim)
    }

    /// Drops records of jobs that do not run, so that they can't be resumed any more.
    ///
    /// Their bitmaps get first what the bitmap mode says for a failure.
    ///
    /// - Parameter condition: must not call the store, which is locked meanwhile.
    /// - Returns: those that were dropped.
    @discardableResult
    public func forgetJobs(
        where condition: (StoredJob) -> Bool
    ) throws(BitmapStoreError) -> [StoredJob] {
        try transact { transaction throws(BitmapStoreError) in
            var forgotten: [StoredJob] = []
            for job in transaction.catalog.jobs {
                let described = StoredJob(
                    job, in: transaction.catalog, isRunning: try transaction.isRunning(job))
                guard !described.isRunning, condition(described) else { continue }
                if job.isOpen {
                    try transaction.endInFailure(jobAt: try transaction.index(ofJob: job.id))
                }
                transaction.catalog.jobs.removeAll { $0.id == job.id }
                forgotten.append(described)
            }
            return forgotten
        }
    }
}
