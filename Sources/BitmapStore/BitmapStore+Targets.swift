public import BlockStorage
public import DirtyBitmap
public import SystemPackage

extension BitmapStore {
    /// The targets of a bitmap, the newest mirror last.
    ///
    /// - Parameter imageMarks: what a bitmap in an image has marked now. Nil: not looked at.
    /// - Throws: `noSuchBitmap`; `bitmapRemade` if `imageMarks` lack some that were there. For a
    ///   bitmap in an image of which the store knows nothing there are no targets.
    public func targets(
        of bitmap: BitmapReference, imageMarks: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> [StoredTarget] {
        let marks = SharedBits(copying: imageMarks)
        return try look { view throws(BitmapStoreError) in
            switch bitmap {
            case .stored(let name):
                guard let index = view.catalog.index(ofBitmap: name) else {
                    throw view.noSuchBitmap(name)
                }
                return try view.describe(view.catalog.bitmaps[index]).targets
            case .image: return try view.imageTargets(of: bitmap, marks)
            }
        }
    }

    /// What is known of one target of a bitmap; nil: it is none of them.
    public func target(
        _ identity: DeviceIdentity, of bitmap: BitmapReference,
        imageMarks: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> StoredTarget? {
        try targets(of: bitmap, imageMarks: imageMarks).last {
            identity.difference(from: $0.identity) == nil
        }
    }

    /// Forgets targets of a bitmap, and the records of jobs on it that wrote to them: what they
    /// lack is not kept any longer.
    ///
    /// - Parameter condition: must not call the store, which is locked meanwhile.
    /// - Returns: those that were forgotten.
    /// - Throws: `noSuchBitmap`; `targetBusy` if a job on the bitmap writes to one of them.
    @discardableResult
    public func forgetTargets(
        of bitmap: BitmapReference, where condition: (StoredTarget) -> Bool
    ) throws(BitmapStoreError) -> [StoredTarget] {
        try transact { transaction throws(BitmapStoreError) in
            guard let index = transaction.catalog.index(of: bitmap) else {
                throw transaction.view.noSuchBitmap(bitmap.name)
            }
            try transaction.recoverJobs(of: index)
            let id = transaction.catalog.id(index)
            let forgotten = try transaction.view.targets(
                ofBitmap: id, transaction.catalog[index]
            ).filter(condition)
            for target in forgotten {
                try transaction.forget(target.identity, ofBitmap: id)
            }
            return forgotten
        }
    }

    /// What an incremental job to a target would copy now: what the bitmap has marked, and what the
    /// target lacks besides.
    ///
    /// - Parameter imageMarks: what a bitmap in an image has marked now.
    /// - Throws: `noSuchBitmap`, `sizesDiffer`.
    public func demand(
        of identity: DeviceIdentity, by bitmap: BitmapReference,
        imageMarks: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> DirtyBitmap {
        let marks = SharedBits(copying: imageMarks)
        if case .stored(let name) = bitmap { return try load(name, for: identity) }
        return try look { view throws(BitmapStoreError) -> DirtyBitmap in
            guard let index = view.catalog.index(of: bitmap) else {
                guard let marks else { throw view.noSuchBitmap(bitmap.name) }
                return marks.bits.copy()
            }
            var bits = try view.load(
                view.demand(of: identity, view.catalog.id(index), view.catalog[index]))
            if let marks { try BitOperation.Kind.merge.apply(marks.bits, to: &bits) }
            return bits
        }
    }

    /// The files of the source were written, and it reads as it did. Whoever knew how they were
    /// before knows how they are now; who had seen them otherwise goes on to see a write.
    ///
    /// - Parameters:
    ///   - earlier: the files before the first write.
    ///   - found: the files after the last one.
    public func renewSourceWitness(
        _ earlier: [WriteWitness], _ found: [WriteWitness]
    ) throws(BitmapStoreError) {
        guard earlier != found else { return }
        try transact { transaction throws(BitmapStoreError) in
            for place in transaction.catalog.targets.indices {
                let seen = transaction.catalog.targets[place].success?.sourceWitness ?? []
                guard seen.isStillTrue(of: earlier) else { continue }
                transaction.catalog.targets[place].success?.sourceWitness = found
            }
            for index in transaction.catalog.bitmapIndices {
                let isTouched = transaction.catalog[historyOf: index].renew(earlier, found)
                if isTouched { transaction.noteSourceDoubt(.sourceTouched, index) }
            }
            for place in transaction.catalog.jobs.indices
            where transaction.catalog.jobs[place].sourceWitness.isStillTrue(of: earlier) {
                transaction.catalog.jobs[place].sourceWitness = found
            }
        }
    }

    /// Notes what a job has done that had no record here: one without a bitmap, which ended before
    /// its first checkpoint. What it wrote is then no foreign write to bitmaps that know its
    /// target; and if it was a full mirror, that lacks nothing any more.
    ///
    /// - Parameters:
    ///   - targetWitness: the target's files after the last write. As they were before the first
    ///     one, `request` tells.
    ///   - sourceUnchanged: nothing was written to the source from before the job began until it
    ///     ended.
    ///   - doubts: what stays in doubt of the target, because of what happened to either side
    ///     while the job ran.
    ///   - isProven: after a success: all of the target was copied or compared by the job.
    ///   - isDistrusted: after a failure: see `StoreJob.giveUp`.
    /// - Returns: the records of interrupted jobs that a full mirror has made useless.
    @discardableResult
    public func noteUnrecordedJob(
        _ request: JobRequest, _ ending: JobEnding, targetWitness: [WriteWitness],
        sourceUnchanged: Bool = false, doubts: Set<TargetDoubt.Kind> = [], isProven: Bool = false,
        isDistrusted: Bool = false
    ) throws(BitmapStoreError) -> [StoredJob] {
        precondition(ending == .failure || !isDistrusted, "a mirror is not distrusted")
        return try transact { transaction throws(BitmapStoreError) in
            if isDistrusted { try transaction.distrust(request.target) }
            defer { transaction.noteDoubts(doubts, of: request.target) }
            // A disk in use may have got marks of its own meanwhile; a snapshot has not. What has
            // failed leaves a target that is worth little.
            if sourceUnchanged || ending != .success { transaction.forgetTarget(request) }
            transaction.refreshWitness(of: request.target, request.targetWitness)
            let isFull = request.mode == .full
            guard ending == .success, isFull || isProven else {
                for place in transaction.catalog.targets(matching: request.target)
                where transaction.catalog.targets[place].witness == request.targetWitness {
                    transaction.catalog.targets[place].witness = targetWitness
                }
                return []
            }
            let before = transaction.catalog
            if isFull {
                try transaction.dropRecords(ofTarget: request.target)
                try transaction.dropRecords(
                    replacedBy: request.target, at: request.targetPath.string)
            }
            transaction.noteFullMirror(
                of: request.target,
                Written(
                    bytes: request.target.size, sourceWitness: request.sourceWitness,
                    targetWitness: targetWitness, sourceUnchanged: sourceUnchanged),
                isProven ? [] : request.doubts(at: transaction.now, isKnown: true))
            let left = Set(transaction.catalog.jobs.map(\.id))
            return before.jobs.filter { !left.contains($0.id) }
                .map { StoredJob($0, in: before, isRunning: false) }
        }
    }
}

// MARK: Bitmaps in images

extension BitmapStore {
    /// The names of the bitmaps in an image of which the store knows targets or jobs.
    public func imageBitmaps() throws(BitmapStoreError) -> [String] {
        try look { view throws(BitmapStoreError) in view.catalog.imageBitmaps.map(\.name) }
    }

    /// A bitmap in the image is about to be cleared by its user: its targets lack still what was
    /// marked. When this returns, clearing it loses nothing.
    ///
    /// - Parameter marks: all that it has marked now.
    /// - Returns: the records of jobs that could have been resumed, and are gone with the bits; and
    ///   the targets that are not known any more, because something else had cleared the bitmap.
    /// - Throws: `busy`, `sizesDiffer`.
    @discardableResult
    public func willClear(
        imageBitmap name: String, marks: borrowing DirtyBitmap
    ) throws(BitmapStoreError) -> (jobs: [StoredJob], targets: [StoredTarget]) {
        let marks = SharedBits(marks.copy())
        return try transact { transaction throws(BitmapStoreError) in
            guard let known = transaction.catalog.index(of: .image(name)) else { return ([], []) }
            try transaction.requireNoJob(known)
            try transaction.requireSize(marks.bits.size)
            let jobs = transaction.records(of: known)
            let targets = try transaction.adopt(imageBitmap: name, marks)
            guard let index = transaction.catalog.index(of: .image(name)) else {
                return (jobs, targets)
            }
            _ = transaction.dropRecords(of: index)
            if transaction.catalog[index].dirtyBytes > 0 {
                transaction.noteLoss(ofBitmap: transaction.catalog.id(index))
            }
            try transaction.addToLacks(transaction.catalog[index], of: index)
            transaction.catalog[index] = .clean(transaction.catalog[index].layout)
            return (jobs, targets)
        }
    }

    /// A bitmap in the image is about to be removed or added by its user: what is known of the
    /// targets of one of this name goes.
    ///
    /// - Returns: the records of jobs that could have been resumed.
    /// - Throws: `busy`.
    @discardableResult
    public func forget(imageBitmap name: String) throws(BitmapStoreError) -> [StoredJob] {
        try transact { transaction throws(BitmapStoreError) in
            guard let index = transaction.catalog.index(of: .image(name)) else { return [] }
            try transaction.requireNoJob(index)
            return transaction.forget(imageBitmap: name)
        }
    }

    /// A bitmap in the image is about to be disabled or enabled, which changes that: see
    /// `setRecording`.
    ///
    /// - Parameter sourceWitness: the image's files now.
    public func noteRecording(
        imageBitmap name: String, _ isRecording: Bool, sourceWitness: [WriteWitness]
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            guard let index = transaction.catalog.index(of: .image(name)) else { return }
            transaction.noteRecording(index, isRecording, sourceWitness)
        }
    }

    /// All of a target was compared with the source, and what differs is marked: it lacks nothing
    /// else, and is known from now on.
    ///
    /// - Parameters:
    ///   - imageMarks: what a bitmap in an image has marked now, the differences included.
    ///   - sourceWitness, targetWitness: the files of both before the comparison, which found
    ///     neither written.
    ///   - doubts: what of the comparison itself has to be taken on trust.
    ///   - hasMissedWrite, sourceDoubt: the source was written without a mark before, or that can't
    ///     be told: other targets may lack that.
    public func noteComparison(
        with target: DeviceIdentity, at path: FilePath, by bitmap: BitmapReference,
        imageMarks: borrowing DirtyBitmap? = nil, sourceWitness: [WriteWitness],
        targetWitness: [WriteWitness], doubts: Set<TargetDoubt.Kind> = [],
        hasMissedWrite: Bool = false,
        sourceDoubt: TargetDoubt.Kind? = nil
    ) throws(BitmapStoreError) {
        let marks = SharedBits(copying: imageMarks)
        try transact { transaction throws(BitmapStoreError) in
            if case .image(let name) = bitmap, let marks {
                try transaction.requireSize(marks.bits.size)
                _ = try transaction.adopt(imageBitmap: name, marks)
            }
            guard let index = transaction.catalog.index(of: bitmap) else {
                throw transaction.view.noSuchBitmap(bitmap.name)
            }
            let id = transaction.catalog.id(index)
            try transaction.requireRoomForTarget()
            if hasMissedWrite { transaction.noteMissedWrite(index) }
            if let sourceDoubt { transaction.noteSourceDoubt(sourceDoubt, index) }
            transaction.catalog[historyOf: index].judged(sourceWitness)
            transaction.catalog.targets.removeAll {
                $0.bitmap == id && target.difference(from: $0.identity) == nil
            }
            transaction.catalog.targets.append(
                TargetEntry(
                    bitmap: id, identity: target, path: path.string,
                    lacked: .clean(transaction.catalog[index].layout), success: nil,
                    witness: targetWitness,
                    doubts: [TargetDoubt](doubts, at: transaction.now)))
        }
    }

    /// A job on a bitmap is refused, for a reason that what is done about it may not take away from
    /// all of its targets: they are in doubt from now on.
    public func noteRefusal(
        _ kind: TargetDoubt.Kind, by bitmap: BitmapReference
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            guard let index = transaction.catalog.index(of: bitmap) else { return }
            transaction.noteSourceDoubt(kind, index)
        }
    }

    /// The history of a bitmap, whether it may have been marked since the last look at its source,
    /// and whether anything is marked.
    ///
    /// - Parameter imageMarks: what a bitmap in an image has marked now. What was marked before may
    ///   have been marked again, which nothing counts there.
    /// - Returns: nil if the store has none, because it knows neither the bitmap nor a target of
    ///   it.
    package func history(
        of bitmap: BitmapReference, imageMarks: borrowing DirtyBitmap? = nil
    ) throws(BitmapStoreError) -> (
        history: BitmapHistory, hasNewMarks: Bool, hasMarks: Bool
    )? {
        let marks = SharedBits(copying: imageMarks)
        return try look { view throws(BitmapStoreError) in
            guard let index = view.catalog.index(of: bitmap) else { return nil }
            let history = view.catalog[historyOf: index]
            let inImage = marks.map { !$0.bits.isClean }
            return (
                history, inImage ?? history.hasNewMarks,
                inImage ?? (view.catalog[index].dirtyBytes > 0)
            )
        }
    }
}
