internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// The life of a job's record; docs/bitmap-store.md has the rules as a table.

/// What a job that succeeded has done to its target.
struct Written {
    let bytes: Int64
    /// When the target was last written, by the job itself; nil where nobody knows.
    let modified: Int64?
}

extension Transaction {
    func index(ofJob id: UInt64) throws(BitmapStoreError) -> Int {
        guard let index = catalog.jobs.firstIndex(where: { $0.id == id }) else {
            throw .noSuchJob(id: id, path: file.path)
        }
        return index
    }

    /// The record of a job that has ended and failed, or died.
    mutating func endInFailure(jobAt place: Int) throws(BitmapStoreError) {
        catalog.jobs[place].isOpen = false
        let job = catalog.jobs[place]
        guard job.bitmapMode == .always else { return }
        try settle(job, keepsRemaining: true)
    }

    /// The record of a job that has succeeded goes.
    mutating func endInSuccess(
        jobAt place: Int, _ written: Written
    ) throws(BitmapStoreError) {
        let job = catalog.jobs[place]
        if job.bitmapMode != .never {
            try settle(job, keepsRemaining: job.remaining.dirtyBytes > 0)
        }
        if let index = catalog.bitmaps.firstIndex(where: { $0.id == job.bitmap }) {
            catalog.bitmaps[index].lastSuccess = LastSuccess(
                time: now, target: job.target, targetPath: job.targetPath,
                bytesCopied: written.bytes, mode: job.mode, targetModified: written.modified)
        }
        catalog.jobs.remove(at: place)
    }

    private mutating func settle(
        _ job: JobEntry, keepsRemaining: Bool
    ) throws(BitmapStoreError) {
        guard let index = catalog.bitmaps.firstIndex(where: { $0.id == job.bitmap }),
            // It counts as all dirty, and stays so.
            catalog.bitmaps[index].state != .inconsistent
        else { return }
        var formula = BitFormula(catalog.bitmaps[index].bits)
        formula.settle(job, keepsRemaining: keepsRemaining)
        catalog.bitmaps[index].bits = try evaluate(formula)
    }

    /// Drops records of jobs to the same target that do not run.
    mutating func dropRecords(ofTarget target: DeviceIdentity) throws(BitmapStoreError) {
        for job in catalog.jobs where target.difference(from: job.target) == nil {
            if try isRunning(job) {
                throw .targetBusy(target: .init(job.targetPath), holder: job.holder)
            }
            // Before it goes, the bitmap gets what it is owed.
            if job.isOpen { try endInFailure(jobAt: try index(ofJob: job.id)) }
            catalog.jobs.removeAll { $0.id == job.id }
        }
    }

    /// T |= M, R |= M, B |= M, M := nothing.
    mutating func reopen(jobAt place: Int, holder: JobHolder) throws(BitmapStoreError) {
        catalog.jobs[place].isOpen = true
        catalog.jobs[place].holder = holder
        let job = catalog.jobs[place]
        guard let bitmap = job.bitmap, let taken = job.taken, let marked = job.marked else {
            return
        }
        guard marked.dirtyBytes > 0 else { return }
        let newTaken = try merge(marked, into: taken)
        var newRemaining = try merge(marked, into: job.remaining)
        if taken.layout != job.remaining.layout {
            // A coarser T rounds to more than was marked; what it claims has to be copied, too.
            var claimed = BitFormula(newTaken)
            claimed.subtract(taken)
            newRemaining = try merge(try reader.load(claimed), into: newRemaining)
        }
        catalog.jobs[place].taken = newTaken
        catalog.jobs[place].remaining = newRemaining
        catalog.jobs[place].marked = .clean(marked.layout)
        if let index = catalog.bitmaps.firstIndex(where: { $0.id == bitmap }) {
            catalog.bitmaps[index].bits = try merge(marked, into: catalog.bitmaps[index].bits)
        }
    }
}
