internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

// What is known of the targets of bitmaps; docs/bitmap-store.md has the rules as a table.

extension Transaction {
    /// Makes of a job's bitmap and its targets what the end of the job says.
    ///
    /// - Returns: the bitmap of the job; nil if it has none, or nothing changes.
    @discardableResult
    mutating func settle(
        _ job: JobEntry, _ ending: JobEnding
    ) throws(BitmapStoreError) -> BitmapIndex? {
        guard let index = job.bitmap.flatMap({ catalog.index(ofBitmapNumbered: $0) }),
            let settlement = Settlement(job, ending, in: catalog[index])
        else { return nil }
        // An inconsistent one counts as all dirty, and stays so.
        if let formula = settlement.after, !isInconsistent(index) {
            catalog[index] = try evaluate(formula)
            if catalog[index] != settlement.before {
                noteLoss(ofBitmap: catalog.id(index))
                try addToLacks(settlement.before, of: index, exceptFor: job.target)
            }
        }
        try setLack(settlement.remaining, of: job, index)
        return index
    }

    private func isInconsistent(_ index: BitmapIndex) -> Bool {
        guard case .stored(let place) = index else { return false }
        return catalog.bitmaps[place].state == .inconsistent
    }

    /// What was marked is not, from now on: all targets but one lack it still.
    ///
    /// - Parameter marks: as they were. What of them is still marked is harmless here, because it
    ///   is copied once at all events; and what nobody has touched is the same blocks.
    mutating func addToLacks(
        _ marks: BitTree, of index: BitmapIndex, exceptFor identity: DeviceIdentity? = nil
    ) throws(BitmapStoreError) {
        let id = catalog.id(index)
        for place in catalog.targets.indices where catalog.targets[place].bitmap == id {
            let target = catalog.targets[place]
            if identity?.difference(from: target.identity) == nil, identity != nil { continue }
            catalog.targets[place].lacked = try merge(marks, into: target.lacked)
        }
    }

    /// The target of a job lacks no more than this besides the marks. It is known from now on.
    private mutating func setLack(
        _ remaining: BitTree, of job: JobEntry, _ index: BitmapIndex
    ) throws(BitmapStoreError) {
        let id = catalog.id(index)
        let lacked = try merge(remaining, into: .clean(catalog[index].layout))
        let places = catalog.targets(matching: job.target, ofBitmap: id)
        for place in places {
            catalog.targets[place].lacked = lacked
            catalog.targets[place].doubts = job.doubts(onTopOf: catalog.targets[place].doubts)
        }
        guard places.isEmpty else { return }
        catalog.targets.append(
            TargetEntry(
                bitmap: id, identity: job.target, path: job.targetPath, lacked: lacked,
                success: nil, witness: job.targetWitness, doubts: job.doubts))
    }

    /// Notes that a job made a mirror of its target.
    mutating func noteSuccess(of job: JobEntry, _ index: BitmapIndex, _ written: Written) {
        let id = catalog.id(index)
        let places = catalog.targets(matching: job.target, ofBitmap: id)
        guard let place = places.last else { return }
        var entry = catalog.targets[place]
        entry.identity = job.target
        entry.path = job.targetPath
        entry.success = TargetSuccess(
            time: now, bytesCopied: written.bytes, mode: job.mode,
            sourceWitness: written.sourceWitness)
        entry.witness = written.targetWitness
        // Entries of which it turned out that they are one.
        for place in places.reversed() { catalog.targets.remove(at: place) }
        catalog.targets.append(entry)
    }

    /// What is known of one target, in all bitmaps that know it: all of it was written anew, or
    /// found to read as the source does.
    ///
    /// If the source was written meanwhile, the target may lack that; and what a bitmap keeps for
    /// it may be that, because a job to another target has taken the marks by now.
    ///
    /// - Parameter doubts: what the job took on trust. What was in doubt before is not any more.
    mutating func noteFullMirror(
        of identity: DeviceIdentity, _ written: Written, _ doubts: [TargetDoubt]
    ) {
        for place in catalog.targets(matching: identity) {
            catalog.targets[place].witness = written.targetWitness
            catalog.targets[place].doubts = doubts
            // From an older state, what other targets have taken meanwhile is not here.
            guard written.sourceUnchanged, !isOlder(written, catalog.targets[place].bitmap) else {
                continue
            }
            catalog.targets[place].lacked = .clean(catalog.targets[place].lacked.layout)
        }
    }

    /// Whether a job has read a state of the source from before marks of a bitmap.
    func isOlder(_ written: Written, _ bitmap: UInt64) -> Bool {
        guard let index = catalog.index(ofBitmapNumbered: bitmap) else { return false }
        return catalog[historyOf: index].isOlder(written.sourceWitness)
    }

    /// All of a target was copied or compared by one job: no bitmap has to take it on trust. What
    /// was written to the source meanwhile is marked.
    mutating func noteProof(of identity: DeviceIdentity) {
        for place in catalog.targets(matching: identity) { catalog.targets[place].doubts = [] }
    }

    /// A target has turned out to differ from the source, to be unreadable, or to be written by
    /// something else, where no bitmap says so: to all bitmaps that know it, it lacks everything
    /// from now on, and is no mirror. What interrupted jobs have written there is worth nothing.
    mutating func distrust(_ identity: DeviceIdentity) throws(BitmapStoreError) {
        for job in catalog.jobs where identity.difference(from: job.target) == nil {
            if try isRunning(job) { continue }
            noteLoss(ofBitmap: job.bitmap)
            try drop(job)
        }
        for place in catalog.targets(matching: identity) {
            catalog.targets[place].lacked = .dirty(catalog.targets[place].lacked.layout)
            catalog.targets[place].success = nil
            catalog.targets[place].doubts = []
        }
    }

    /// From now on something of a target is taken on trust, in all bitmaps that know it.
    mutating func noteDoubts(_ kinds: Set<TargetDoubt.Kind>, of identity: DeviceIdentity) {
        for place in catalog.targets(matching: identity) {
            for kind in kinds { catalog.targets[place].doubts.add(kind, at: now) }
        }
    }

    /// Whether the source was written without a mark can't be told: all targets of a bitmap, and
    /// what interrupted jobs have written, are taken on trust for that.
    mutating func noteSourceDoubt(_ kind: TargetDoubt.Kind, _ index: BitmapIndex) {
        let id = catalog.id(index)
        for place in catalog.targets.indices where catalog.targets[place].bitmap == id {
            catalog.targets[place].doubts.add(kind, at: now)
        }
        for place in catalog.jobs.indices where catalog.jobs[place].bitmap == id {
            catalog.jobs[place].doubts.add(kind, at: now)
        }
    }

    /// The source was written without a mark: what is missed, each target of a bitmap may lack.
    mutating func noteMissedWrite(
        _ index: BitmapIndex, exceptFor identity: DeviceIdentity? = nil
    ) {
        let id = catalog.id(index)
        noteLoss(ofBitmap: id)
        noteUnrecorded(index)
        for place in catalog.targets.indices where catalog.targets[place].bitmap == id {
            let target = catalog.targets[place]
            if let identity, identity.difference(from: target.identity) == nil { continue }
            catalog.targets[place].lacked = .dirty(target.lacked.layout)
        }
    }

    /// A job is about to write to its target what an older state of the source has. What that is
    /// for bitmaps with newer marks, which may have been taken, they can't tell.
    mutating func forgetTarget(_ request: JobRequest) {
        for index in catalog.bitmapIndices where catalog.reference(index) != request.bitmap {
            let id = catalog.id(index)
            guard catalog[historyOf: index].isOlder(request.sourceWitness),
                !catalog.targets(matching: request.target, ofBitmap: id).isEmpty
            else { continue }
            catalog.targets.removeAll {
                $0.bitmap == id && request.target.difference(from: $0.identity) == nil
            }
            noteLoss(ofBitmap: id)
        }
    }

    // MARK: Witnesses

    /// A job is about to write to a target. Where that was as its last job had left it, it is known
    /// how it is now; suspicion stays. Where a job had died there, what wrote it until now stays in
    /// doubt, and what writes it from now on is seen.
    mutating func refreshWitness(of identity: DeviceIdentity, _ found: [WriteWitness]) {
        guard !found.isEmpty else { return }
        for place in catalog.targets(matching: identity) {
            let known = catalog.targets[place].witness
            switch found.evidence(since: known) {
            case .unchanged: break
            case .timesOnly: catalog.targets[place].doubts.add(.touched, at: now)
            case .unknown where known.isIncomplete:
                catalog.targets[place].doubts.add(.unseen, at: now)
            case .unknown, .written: continue
            }
            catalog.targets[place].witness = found
        }
    }

    /// A job has written to its target, which is `found` now. Who knew how the target was when the
    /// job began knows how it is now.
    mutating func renewWitness(of job: JobEntry, _ found: [WriteWitness]) {
        guard !job.targetWitness.isEmpty else { return }
        for place in catalog.targets(matching: job.target)
        where catalog.targets[place].witness == job.targetWitness {
            catalog.targets[place].witness = found
        }
    }
}
