internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// The life of a job's record; docs/bitmap-store.md has the rules as a table.

/// What a job has done to its target, and how it left both sides.
struct Written {
    let bytes: Int64
    let sourceWitness: [WriteWitness]
    let targetWitness: [WriteWitness]
    /// Nothing was written to the source from before the job began until it ended.
    let sourceUnchanged: Bool
    /// What stays in doubt of the target.
    var doubts: Set<TargetDoubt.Kind> = []
    /// All of the target was copied or compared by this run of the job.
    var isProven = false
}

extension Transaction {
    func index(ofJob id: UInt64) throws(BitmapStoreError) -> Int {
        guard let index = catalog.jobs.firstIndex(where: { $0.id == id }) else {
            throw .noSuchJob(id: id, path: file.path)
        }
        return index
    }

    /// The record of a job that has ended and failed, or died.
    ///
    /// - Parameters:
    ///   - witness: its target as the job left it; nil: it died.
    ///   - doubts: what stays in doubt of what it has written.
    mutating func endInFailure(
        jobAt place: Int, _ witness: [WriteWitness]? = nil, _ doubts: Set<TargetDoubt.Kind> = []
    ) throws(BitmapStoreError) {
        assert(catalog.jobs[place].isOpen, "a job ends once")
        catalog.jobs[place].isOpen = false
        for doubt in doubts { catalog.jobs[place].doubts.add(doubt, at: now) }
        let job = catalog.jobs[place]
        let witness = witness ?? job.unfinishedWitness
        try settle(job, .failure)
        renewWitness(of: job, witness)
        // Also where the job is not gone on with, and whatever becomes of its bits.
        noteDoubts(doubts, of: job.target)
        catalog.jobs[place].targetWitness = witness
    }

    /// The record of a job that has succeeded goes, and with it those that its target was left
    /// behind by.
    mutating func endInSuccess(
        jobAt place: Int, _ written: Written
    ) throws(BitmapStoreError) {
        let job = catalog.jobs.remove(at: place)
        let isFull = job.mode == .full && job.remaining.dirtyBytes == 0
        if isFull || written.isProven {
            noteFullMirror(of: job.target, written, job.doubts)
        } else {
            renewWitness(of: job, written.targetWitness)
        }
        if isFull { try dropRecords(replacedBy: job.target, at: job.targetPath) }
        if let index = try settle(job, .success) {
            noteSuccess(of: job, index, written)
            // All that the source has now, this target has; others were told when the job began.
            if written.isProven, written.sourceUnchanged,
                !catalog[historyOf: index].isOlder(written.sourceWitness)
            {
                catalog[historyOf: index].judged(written.sourceWitness)
            }
        }
        if written.isProven { noteProof(of: job.target) }
        noteDoubts(written.doubts, of: job.target)
    }

    /// Drops records of jobs to the same target that do not run.
    mutating func dropRecords(ofTarget target: DeviceIdentity) throws(BitmapStoreError) {
        for job in catalog.jobs where target.difference(from: job.target) == nil {
            if try isRunning(job) {
                throw .targetBusy(target: .init(job.targetPath), holder: job.holder)
            }
            try drop(job)
        }
    }

    /// Drops records of jobs to an image that is not there any more, because another is where it
    /// was, in the same directory: nobody can resume them.
    ///
    /// A disk by the same name, or an image on another filesystem in the same place, may come
    /// back.
    mutating func dropRecords(
        replacedBy target: DeviceIdentity, at path: String
    ) throws(BitmapStoreError) {
        guard target.isImage else { return }
        for job in catalog.jobs
        where job.targetPath == path && job.target.isImage
            && job.target.filesystemDevice == target.filesystemDevice
            && target.difference(from: job.target) != nil
        {
            if try !isRunning(job) { try drop(job) }
        }
    }

    /// Removes a record. Before it goes, its bitmap gets what it is owed.
    mutating func drop(_ job: JobEntry) throws(BitmapStoreError) {
        if job.isOpen { try endInFailure(jobAt: try index(ofJob: job.id)) }
        catalog.jobs.removeAll { $0.id == job.id }
    }

    /// Removes a record without settling it. How a job that died left its target, no other bitmap
    /// knows.
    mutating func discard(_ job: JobEntry) {
        if job.isOpen { renewWitness(of: job, job.unfinishedWitness) }
        catalog.jobs.removeAll { $0.id == job.id }
    }

    /// T |= M, R |= M, B |= M, M := nothing.
    ///
    /// B of a bitmap in an image stays what the image says: other jobs may have cleared there what
    /// this one has in M.
    mutating func reopen(jobAt place: Int, holder: JobHolder) throws(BitmapStoreError) {
        catalog.jobs[place].isOpen = true
        catalog.jobs[place].holder = holder
        let job = catalog.jobs[place]
        guard let index = job.bitmap.flatMap({ catalog.index(ofBitmapNumbered: $0) }),
            let taken = job.taken, let marked = job.marked, marked.dirtyBytes > 0
        else { return }
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
        guard case .stored = index else { return }
        catalog[index] = try merge(marked, into: catalog[index])
    }
}
