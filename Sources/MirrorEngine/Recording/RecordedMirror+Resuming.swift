public import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
public import Logging
internal import SystemPackage

// How a recorded mirror goes on that was interrupted.

extension RecordedMirror {
    /// Goes on with the interrupted job of this mode, bitmap and target.
    ///
    /// A promise that the target is zero is not taken: what was copied before is there. A disk in
    /// use needs a bitmap for which it has been tracked since the job began.
    ///
    /// - Throws: `MirrorError.nothingToResume`; `.changed` if the source or the target is not what
    ///   it was, as far as their identities, the source's times and counters, and a sample of what
    ///   was copied tell; `.invalidOption` for another bitmap mode than the job's.
    public static func resume(
        from source: Disk, to target: Disk, request: Request,
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        var start = try MirrorStart(from: source, to: target, request, records)
        let store: BitmapStore
        do throws(BitmapStoreError) {
            store = try records.openExisting(for: source.identity)
        } catch .notFound {
            throw .nothingToResume(target: target.path, store: records.path)
        } catch {
            throw .store(error)
        }
        let job = try start.interruptedJob(in: store)
        try start.requireResumable(job, in: store)
        // What was copied before is right because what was written since is marked.
        start.live?.rest(on: start.base)
        let record = try storing { () throws(BitmapStoreError) in
            switch start.imageMarks {
            case let marks?:
                try store.resumeJob(job.id, start.record, imageMarks: marks.bits.copy())
            case nil: try store.resumeJob(job.id, start.record)
            }
        }
        do throws(MirrorError) {
            var working = try storing { () throws(BitmapStoreError) in try record.loadRemaining() }
            if try start.distrustsCopied(job, without: working.copy(), in: store) {
                working.setAll()
                try storing { () throws(BitmapStoreError) in
                    try record.checkpoint(working.copy())
                }
            }
            return try RecordedMirror(
                start, record: record, working: working, resumed: job, logger: logger)
        } catch {
            // Nothing was written: the target is as the interrupted job has left it. If that can't
            // be said any more, the record is that of a job that died.
            _ = try? record.finish(.failure, targetWitness: job.targetWitness)
            throw error
        }
    }
}

extension StoredJob {
    /// Whether a target is known to be as the job has left it: nothing that anybody else needs is
    /// on it.
    public func hasLeft(_ target: Disk) -> Bool {
        target.identity.difference(from: self.target) == nil
            && target.evidence(since: targetWitness) == .unchanged
    }

    /// Whether its bitmap tells what was written to the source since it began. Without one nothing
    /// does, nor does one that took no marks for a time, or has none: whoever writes may have gone
    /// past it. Of a bitmap in an image it is known who does not.
    fileprivate var hasMarks: Bool {
        guard !isUnrecorded else { return false }
        switch bitmap {
        case nil: return false
        case .stored: return markedBytes > 0
        case .image: return true
        }
    }
}

extension MirrorStart {
    /// The record of the job that was interrupted.
    fileprivate func interruptedJob(in store: BitmapStore) throws(MirrorError) -> StoredJob {
        let jobs: [StoredJob]
        do throws(BitmapStoreError) { jobs = try store.jobs() } catch { throw .store(error) }
        let wanted = jobs.filter { $0.mode == request.mode && $0.bitmap == reference }
        let same = wanted.first { target.identity.difference(from: $0.target) == nil }
        guard let job = same ?? wanted.first(where: { $0.targetPath.string == target.resolvedPath })
        else {
            throw .nothingToResume(target: target.path, store: records.path)
        }
        return job
    }

    /// Refuses to go on with a job whose sides are not what they were, and takes over what can't
    /// be changed any more.
    fileprivate mutating func requireResumable(
        _ job: StoredJob, in store: BitmapStore
    ) throws(MirrorError) {
        if let difference = target.identity.difference(from: job.target) {
            throw .changed(.target, path: target.path, difference: difference)
        }
        if let difference = source.identity.difference(from: job.source) {
            throw .changed(.source, path: source.path, difference: difference)
        }
        try requireTargetAsLeft(job, in: store)
        try requireSourceAsLeft(job, in: store)
        if let mode = request.bitmapMode, mode != job.bitmapMode {
            // It may have become that by itself.
            guard job.bitmapMode == .never else {
                throw .invalidOption(
                    "the interrupted job was begun with bitmap mode \(job.bitmapMode.rawValue), "
                        + "which can't be changed")
            }
            warnings.append("the bitmap stays as it is, because the job was begun so")
        }
        if job.bitmap != nil { record.bitmapMode = keepsMarks ? .never : job.bitmapMode }
        // It was true before the first attempt wrote there.
        request.options.targetIsZero = false
        record.doubts.remove(.zeros)
    }

    /// Refuses a source that was written since the job began, where its bitmap does not tell.
    private mutating func requireSourceAsLeft(
        _ job: StoredJob, in store: BitmapStore
    ) throws(MirrorError) {
        let path = source.path
        let found = source.evidence(since: job.sourceWitness)
        if let bitmap = job.bitmap {
            // What was copied before is as the source is now because nothing else was written to
            // it, or because that was marked.
            if job.mode != .full || found != .unchanged {
                evidence.append(.bitmap(bitmap.name))
                noteStorePlace(bitmap)
            }
            try requireMarkedSource(bitmap.name, in: store) { (how, _) in
                .changed(.source, path: path, difference: how)
            }
            if record.hasMissedWrite { record.copiesAll = job.mode == .full }
        } else if job.mode == .incremental {
            evidence.append(.changeMap)
        }
        guard !job.hasMarks, !isTracked || job.isUnrecorded else { return }
        guard live == nil else {
            throw .changed(
                .source, path: path,
                difference: "it was not tracked all the time since the job began")
        }
        switch found {
        case .written(let how):
            guard job.bitmap != nil, request.verification == .all else {
                throw .changed(.source, path: path, difference: how)
            }
            // If this run does not come to comparing everything.
            if job.mode == .full { record.copiesAll = true } else { record.doubts.insert(.missed) }
            return
        case .unknown: record.doubts.insert(.sourceUnseen)
        case .timesOnly: record.doubts.insert(.sourceTouched)
        case .unchanged: return
        }
        let look = MirrorEvidence(ofSource: found)
        if !evidence.contains(look) { evidence.append(look) }
    }

    /// Refuses a target that differs from the source in a sample of what was copied before.
    ///
    /// - Returns: whether all is to be copied again, by a full mirror that compares everything.
    fileprivate mutating func distrustsCopied(
        _ job: StoredJob, without working: consuming DirtyBitmap, in store: BitmapStore
    ) throws(MirrorError) -> Bool {
        // Of a disk in use a sample shows what is written meanwhile.
        guard live == nil else { return false }
        // What a map or a layer says was copied is no promise about the rest.
        guard job.mode == .full || job.bitmap != nil,
            let offset = difference(without: working)
        else { return false }
        let how =
            "it differs from \(source.path) at offset \(offset), where it should not; one of them "
            + "was written since"
        guard job.mode == .full, request.verification == .all else {
            try refuse(
                .differed, in: store, .changed(.target, path: target.path, difference: how))
        }
        warnings.append("all is copied again to \(target.path): \(how)")
        return true
    }

    /// Refuses a target that something else has written since the job left it, or had written
    /// before the job began on it in spite of that.
    private mutating func requireTargetAsLeft(
        _ job: StoredJob, in store: BitmapStore
    ) throws(MirrorError) {
        var looks = [job.targetWitness]
        var doubts = job.doubts
        // A full job takes nothing of what was there before for a mirror, and of what the user
        // answered for when the job began nothing else was believed.
        let isVouched = doubts.contains { $0.kind == .vouched }
        if job.mode != .full, !isVouched, let bitmap = job.bitmap {
            do throws(BitmapStoreError) {
                if let known = try store.target(target.identity, of: bitmap) {
                    looks.append(known.witness)
                    doubts += known.doubts.filter { !doubts.contains($0) }
                }
            } catch {
                throw .store(error)
            }
        }
        var findings: [WriteEvidence] = []
        for look in looks {
            let found = target.evidence(since: look)
            if !findings.contains(found) { findings.append(found) }
        }
        for found in findings where found != .unchanged {
            if case .written(let how) = found {
                // What the bitmap knows of the target stays suspicious until all was compared.
                guard request.verification == .all, job.bitmap != nil || job.mode == .full else {
                    throw .changed(.target, path: target.path, difference: how)
                }
                record.copiesAll = job.mode == .full
                warnings.append("\(target.path) was written by something else: \(how)")
            }
            note(found)
        }
        if evidence.allSatisfy({ !$0.isAboutTarget }) { evidence.append(.targetUntouched) }
        evidence += doubts.map { .notProven($0) }
    }
}

extension MirrorEvidence {
    fileprivate var isAboutTarget: Bool {
        switch self {
        case .targetUnknown, .targetTouched, .targetUntouched: true
        default: false
        }
    }
}
