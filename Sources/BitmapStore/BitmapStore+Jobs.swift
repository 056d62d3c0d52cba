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
    /// An incremental job takes the bitmap's marks and what its target lacks beyond them, if the
    /// bitmap knows it; a full one takes everything. Records of interrupted jobs to the same
    /// target are dropped.
    ///
    /// - Parameters:
    ///   - working: what the job will copy, if that does not follow from its mode and bitmap. A
    ///     full job on a bitmap has to copy everything. Nil: see above; everything at 64 KiB, if
    ///     there is no bitmap.
    ///   - imageMarks: what a bitmap in an image has marked now; for such a bitmap it must be
    ///     given.
    /// - Throws: `noSuchBitmap`, `busy`, `inconsistent`, `targetBusy`, `sizesDiffer`,
    ///   `unknownTarget`, `pathNotText`, `tooManyBitmaps`; `invalidName` for a bitmap in an image
    ///   whose name the store can't have.
    public func beginJob(
        _ request: JobRequest, working: borrowing DirtyBitmap? = nil,
        imageMarks: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> StoreJob {
        let working = SharedBits(copying: working)
        let marks = SharedBits(copying: imageMarks)
        try require(request, isWhole: working.map { $0.bits.dirtyBytes == $0.bits.size } ?? true)
        let start = JobStart(store: self, request: request, working: working, marks: marks)
        let (begun, claim) = try transact { transaction throws(BitmapStoreError) in
            try start.run(&transaction)
        }
        let job = StoreJob(
            store: self, record: begun.record, claim: claim,
            forgottenTargets: begun.forgottenTargets)
        if let working, let stored = begun.stored {
            job.remember(KnownBits(tree: stored, copy: working))
        }
        return job
    }

    private func require(_ request: JobRequest, isWhole: Bool) throws(BitmapStoreError) {
        precondition(
            request.bitmap == nil || request.mode != .top, "a top mirror clears no bitmap")
        precondition(
            request.bitmap == nil || isWhole, "a job that takes a bitmap copies all that it takes")
        for path in [request.sourcePath, request.targetPath] where FilePath(path.string) != path {
            throw .pathNotText(path)
        }
    }

    /// Takes up a job that died or failed: it goes on with what remained, and with what was marked
    /// since it began.
    ///
    /// - Parameters:
    ///   - request: the same job as if it began now; what is known of both sides' files, and what
    ///     is taken on trust besides what the job has before. Nil: nothing is known of either.
    ///   - imageMarks: what a bitmap in an image has marked now; nil: the caller knows that nothing
    ///     was written to the image since the job began.
    /// - Throws: `noSuchJob`, `jobRunning`; `busy` if another job has its bitmap by now;
    ///   `inconsistent`; `bitmapRemade` if the bitmap in the image has lost marks.
    public func resumeJob(
        _ id: UInt64, _ request: JobRequest? = nil, imageMarks: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> StoreJob {
        let marks = SharedBits(copying: imageMarks)
        let (record, claim) = try transact {
            transaction throws(BitmapStoreError) -> (StoredJob, any JobClaim) in
            var place = try transaction.index(ofJob: id)
            let job = transaction.catalog.jobs[place]
            if try transaction.isRunning(job) { throw .jobRunning(id: id, holder: job.holder) }
            if let index = job.bitmap.flatMap({ transaction.catalog.index(ofBitmapNumbered: $0) }) {
                try transaction.resume(index, marks)
            } else if job.isOpen {
                try transaction.endInFailure(jobAt: place)
            }
            place = try transaction.index(ofJob: id)
            try transaction.requireRoomForTarget()
            guard let claim = try file.claim(job: id) else {
                throw .jobRunning(id: id, holder: job.holder)
            }
            try transaction.reopen(jobAt: place, holder: holder)
            transaction.take(request, forJobAt: place)
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
                transaction.noteLoss(ofBitmap: job.bitmap)
                try transaction.drop(job)
                forgotten.append(described)
            }
            return forgotten
        }
    }
}
