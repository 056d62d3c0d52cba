public import BitmapStore
internal import BlockStorage
public import DirtyBitmap
public import Logging
internal import SystemPackage

// The ways to begin a recorded mirror. Each checks everything that can be checked, and takes the
// named bitmap, before the target's first byte is written.

extension RecordedMirror {
    /// Makes all of `target` read as `source` does. If a bitmap is named, a success clears it: from
    /// then on it tells what this target lacks; what its other targets lack is kept in the store.
    ///
    /// - Throws: `MirrorError.store` if the bitmap can't be taken; `.invalidOption` for a bitmap
    ///   that is never cleared, on which a full mirror would have no effect.
    public static func full(
        from source: Disk, to target: Disk, request: Request = Request(.full),
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        try beginning(target) { () throws(MirrorError) in
            guard request.bitmapMode != .never else {
                throw .invalidOption(
                    "a full mirror does nothing with a bitmap whose mode is never: leave one out")
            }
            var start = try MirrorStart(from: source, to: target, request, records)
            var working = DirtyBitmap(
                size: source.geometry.size,
                granularity: Granularity(forSize: source.geometry.size))
            working.setAll()
            guard start.reference != nil, let store = try start.store() else {
                return try RecordedMirror(start, record: nil, working: working, logger: logger)
            }
            try start.noteMissedWrite(in: store)
            let record = try start.begin(in: store, working: working.copy())
            return try make(record, in: store, records) { () throws(MirrorError) in
                try RecordedMirror(start, record: record, working: working.copy(), logger: logger)
            }
        }
    }

    /// Makes `target` read as `source` does where the source's image has something itself, and
    /// those below it down to the base of the request, if it has one.
    ///
    /// - Throws: `.invalidOption` for a raw disk; `.storage` for a base that is not below it.
    public static func top(
        from source: Disk, to target: Disk, request: Request = Request(.top),
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        try beginning(target) { () throws(MirrorError) in
            try RecordedMirror(
                try MirrorStart(from: source, to: target, request.withoutBitmap, records),
                record: nil,
                working: try source.topBits(above: request.base), logger: logger)
        }
    }

    /// Makes `target` read as `source` does where the named bitmap of the request is dirty, and
    /// where the target lacks more than that, because other targets have taken the marks.
    ///
    /// - Throws: `MirrorError.store` if the bitmap can't be taken. `.otherTarget`, `.halfMirror`,
    ///   `.marksTaken`, `.foreignWrites`, `.unmarkedWrites` and `.otherContent` if the target does
    ///   not hold the mirror that the bitmap goes on from, as far as that can be told.
    public static func incremental(
        from source: Disk, to target: Disk, request: Request,
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        try beginning(target) { () throws(MirrorError) in
            guard let name = request.bitmap else {
                throw .invalidOption("an incremental mirror needs a bitmap or a map")
            }
            var start = try MirrorStart(from: source, to: target, request, records)
            let store = try start.store()
            let demand = try start.requireMirror(in: store, name)
            guard let store else {
                return try RecordedMirror(start, record: nil, working: demand, logger: logger)
            }
            let record = try start.begin(in: store)
            return try make(record, in: store, records) { () throws(MirrorError) in
                let working = try storing { () throws(BitmapStoreError) in
                    try record.loadRemaining()
                }
                return try RecordedMirror(start, record: record, working: working, logger: logger)
            }
        }
    }

    /// Makes the mirror of a job that has just begun. If that fails, nothing was written, and the
    /// record goes again.
    private static func make(
        _ record: StoreJob, in store: BitmapStore, _ records: RecordPlace,
        _ make: () throws(MirrorError) -> RecordedMirror
    ) throws(MirrorError) -> RecordedMirror {
        do throws(MirrorError) { return try make() } catch {
            try storing { () throws(BitmapStoreError) in
                try record.abandon()
                if case .path = records { try store.removeFileIfEmpty() }
            }
            throw error
        }
    }

    /// Finds out what an incremental mirror to a new overlay would copy, without making that.
    ///
    /// - Parameter base: what the overlay would stand on, open for reading.
    /// - Throws: what `incremental` throws for such a target.
    public static func demand(
        from source: Disk, toOverlayOf base: Disk, request: Request, records: RecordPlace
    ) throws(MirrorError) -> OverlayDemand {
        guard let name = request.bitmap else {
            throw .invalidOption("an incremental mirror needs a bitmap or a map")
        }
        var start = try MirrorStart(from: source, to: base, request, records)
        let store = try start.store()
        let bits = try start.requireMirror(in: store, name)
        return OverlayDemand(bits: bits, warnings: start.warnings)
    }

    /// Makes `target` read as `source` does where `dirty` says so, which comes from elsewhere and
    /// stays as it is.
    public static func incremental(
        from source: Disk, to target: Disk, dirty: borrowing DirtyBitmap,
        request: Request = Request(.incremental), records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        try beginning(target) { () throws(MirrorError) in
            var start = try MirrorStart(from: source, to: target, request.withoutBitmap, records)
            start.evidence.append(.changeMap)
            try start.requireSample(without: dirty.copy(), nil)
            return try RecordedMirror(start, record: nil, working: dirty.copy(), logger: logger)
        }
    }

    /// Goes on with the interrupted job of this mode, bitmap and target.
    ///
    /// A promise that the target is zero is not taken: what was copied before is there.
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
        let record = try storing { () throws(BitmapStoreError) in
            switch start.imageMarks {
            case let marks?:
                try store.resumeJob(job.id, start.record, imageMarks: marks.bits.copy())
            case nil: try store.resumeJob(job.id, start.record)
            }
        }
        do throws(MirrorError) {
            let working = try storing { () throws(BitmapStoreError) in try record.loadRemaining() }
            try start.requireSampleOfCopied(job, without: working.copy(), in: store)
            return try RecordedMirror(
                start, record: record, working: working, resumed: job, logger: logger)
        } catch {
            // Nothing was written: the target is as the interrupted job has left it.
            _ = try storing { () throws(BitmapStoreError) in
                try record.finish(.failure, targetWitness: job.targetWitness)
            }
            throw error
        }
    }

    /// Begins a mirror; a target that was made for it does not stay behind if that fails.
    private static func beginning(
        _ target: Disk, _ body: () throws(MirrorError) -> RecordedMirror
    ) throws(MirrorError) -> RecordedMirror {
        do throws(MirrorError) { return try body() } catch {
            target.device.removeIfCreated()
            throw error
        }
    }

    private static func storing<Value: ~Copyable>(
        _ body: () throws(BitmapStoreError) -> Value
    ) throws(MirrorError) -> Value {
        do throws(BitmapStoreError) { return try body() } catch { throw .store(error) }
    }
}

/// What an incremental mirror to a new overlay would copy, and what the user should know before.
public struct OverlayDemand: ~Copyable, Sendable {
    /// All that is dirty, of the size of the source.
    public let bits: DirtyBitmap
    /// In sentences.
    public let warnings: [String]
}

extension RecordedMirror.Request {
    /// The same for a job that works on no bitmap.
    fileprivate var withoutBitmap: RecordedMirror.Request {
        var request = self
        request.bitmap = nil
        return request
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
    /// Refuses a target that does not hold the mirror that the bitmap goes on from, as far as that
    /// can be told.
    ///
    /// - Parameter store: nil: there is none for a bitmap in an image.
    /// - Returns: what the job will copy, unless more is marked until it begins.
    fileprivate mutating func requireMirror(
        in store: BitmapStore?, _ name: String
    ) throws(MirrorError) -> DirtyBitmap {
        guard let store else {
            guard let imageMarks else {
                preconditionFailure("only an image's bitmap can do without a store")
            }
            evidence.append(.bitmap(name))
            evidence.append(
                request.allowNewTarget
                    ? .targetVouched : .targetUnknown("no mirror to it is recorded"))
            try requireSample(without: imageMarks.bits.copy(), name)
            return imageMarks.bits.copy()
        }
        try requireBase(in: store)
        let bits = try demand(in: store)
        try requireSample(without: bits.copy(), name, in: store)
        return bits
    }

    /// What the job will copy, unless more is marked until it begins.
    fileprivate func demand(in store: BitmapStore) throws(MirrorError) -> DirtyBitmap {
        guard let reference else { preconditionFailure("an incremental mirror by a bitmap") }
        do throws(BitmapStoreError) {
            switch imageMarks {
            case let marks?:
                return try store.demand(
                    of: held.identity, by: reference, imageMarks: marks.bits.copy())
            case nil: return try store.demand(of: held.identity, by: reference)
            }
        } catch {
            throw .store(error)
        }
    }

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
        } else if job.mode == .incremental {
            evidence.append(.changeMap)
        }
        guard !job.hasMarks else { return }
        switch found {
        case .written(let how):
            guard job.bitmap != nil, request.verification == .all else {
                throw .changed(.source, path: path, difference: how)
            }
            return
        case .unknown: record.doubts.insert(.sourceUnseen)
        case .timesOnly: record.doubts.insert(.sourceTouched)
        case .unchanged: return
        }
        let look = MirrorEvidence(ofSource: found)
        if !evidence.contains(look) { evidence.append(look) }
    }

    /// Refuses a target that differs from the source in a sample of what was copied before.
    fileprivate mutating func requireSampleOfCopied(
        _ job: StoredJob, without working: consuming DirtyBitmap, in store: BitmapStore
    ) throws(MirrorError) {
        // What a map or a layer says was copied is no promise about the rest.
        guard job.mode == .full || job.bitmap != nil,
            let offset = difference(without: working)
        else { return }
        try refuse(
            .differed, in: store,
            .changed(
                .target, path: target.path,
                difference:
                    "it differs from \(source.path) at offset \(offset), where it should not; "
                    + "one of them was written since"))
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
                guard request.verification == .all else {
                    throw .changed(.target, path: target.path, difference: how)
                }
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
