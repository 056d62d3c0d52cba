internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import KernelTracking
internal import SystemPackage

/// What is found out about a mirror before it begins: which bitmap is meant, what the store knows
/// of the target, and whether either side was written since the last mirror.
struct MirrorStart {
    let source: Disk
    let target: Disk
    /// What the target has before the job.
    let held: HeldContent
    var request: RecordedMirror.Request
    let records: RecordedMirror.RecordPlace
    /// The named bitmap; nil: the job works on none.
    let reference: BitmapReference?
    /// If it is one in the image: what it has marked.
    let imageMarks: ImageMarks?
    /// The source may hold back what is marked, so that no mark is taken.
    let keepsMarks: Bool
    /// What tells of writes to the source, if that is in use.
    let live: KernelChanges?
    /// What has told of every write to the source since the bitmap was last settled; nil: nothing.
    let base: TrackedBase?
    /// What the record of the job says, or would say.
    var record: JobRequest
    /// What the claim at the end rests on.
    var evidence: [MirrorEvidence] = []
    /// What the user should know beforehand.
    var warnings: [String] = []

    init(
        from source: Disk, to target: Disk, _ request: RecordedMirror.Request,
        _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) {
        guard request.bitmapMode == nil || request.bitmap != nil else {
            throw .invalidOption("a bitmap mode says what becomes of a bitmap, and there is none")
        }
        try request.checkDifferences()
        try request.live?.requirePause(for: request.verification, of: source.geometry.size)
        self.source = source
        self.target = target
        // What is written after the first look at it has to be noticed.
        target.devices.watchWriters()
        held = HeldContent(of: target)
        self.request = request
        self.records = records
        keepsMarks = request.bitmap != nil && source.holdsWritesBack
        if keepsMarks, request.bitmapMode != .never {
            warnings.append(
                "bitmap '\(request.bitmap ?? "")' stays as it is: what has \(source.path) open "
                    + "may hold back what is marked, so that the next mirror copies it again")
        }
        reference = try request.bitmap.map { (name) throws(MirrorError) in
            try source.reference(
                toBitmap: name, records: records, storeAlone: request.ignoresImageBitmaps)
        }
        imageMarks = try ImageMarks(reference, of: source)
        // Before anything is known of the source: what is written from now on is seen.
        live = try request.live.map { (live) throws(MirrorError) in
            try KernelChanges(
                live, of: source, storeAt: request.bitmap == nil ? nil : records.path)
        }
        warnings += live?.warnings ?? []
        // Before the marks are taken: what is written in between shows at the end.
        let sourceWitness = source.settledWitness()
        let tracker = try Self.settleTracker(
            reference, of: source, records, request.mode, isLive: live != nil)
        base = tracker.flatMap { TrackedBase($0) }
        if request.mode == .incremental { live?.rest(on: base) }
        if tracker != nil, let reference { evidence.append(.tracked(bitmap: reference.name)) }
        record = JobRequest(
            mode: request.mode, bitmap: reference,
            bitmapMode: keepsMarks ? .never : request.bitmapMode ?? .onSuccess,
            source: source.identity, sourcePath: FilePath(source.resolvedPath),
            target: target.identity, targetPath: FilePath(target.resolvedPath))
        record.sourceWitness = sourceWitness
        record.targetWitness = target.witnessBeforeWriting()
        record.writtenFiles = target.devices.prefix { $0.access == .readWrite }.count
        record.allowsUnknownTarget = request.allowNewTarget
        record.isImageBitmapRecording = imageMarks?.isRecording ?? true
        if request.options.targetIsZero { record.doubts.insert(.zeros) }
        try requireWholeSource()
    }

    /// The kernel has told of every write to the source since the bitmap was last settled.
    var isTracked: Bool { base != nil }

    /// Brings into a bitmap what the kernel has marked for it.
    ///
    /// - Returns: what tracks the disk for the bitmap; nil: nothing does.
    private static func settleTracker(
        _ reference: BitmapReference?, of source: Disk, _ records: RecordedMirror.RecordPlace,
        _ mode: JobMode, isLive: Bool
    ) throws(MirrorError) -> DiskTracker? {
        guard case .stored(let name) = reference else { return nil }
        let store: BitmapStore?
        let isTracked: Bool
        do throws(BitmapStoreError) {
            store = try records.existing(for: source.identity)
            isTracked = try store?.bitmap(name).tracker != nil
        } catch {
            throw .store(error)
        }
        guard isTracked || isLive else { return nil }
        guard let store else {
            throw .live(.notTracked(bitmap: name, disk: source.path))
        }
        do throws(MirrorError) {
            return try DiskTracking(of: source, records: records)
                .tracker(of: name, in: store, atRest: !isLive)
        } catch {
            // It is inconsistent from now on. A full mirror helps.
            guard !isLive, mode == .full, case .live(.trackingLost) = error else { throw error }
            return nil
        }
    }

    /// Refuses a source that a mirror from the target was to restore, and has not: the target may
    /// be the only one that has all of it.
    ///
    /// The record of that is in the store of the target. One that can't be used tells nothing.
    private func requireWholeSource() throws(MirrorError) {
        let interrupted: [StoredJob]
        do throws(BitmapStoreError) {
            let store = try BitmapStore.open(
                StorePlace.path(for: target), for: target.identity, access: .readOnly)
            interrupted = try store.jobs()
        } catch {
            return
        }
        for job in interrupted
        where !job.isRunning && source.identity.difference(from: job.target) == nil {
            throw .halfSource(source: source.path, target: target.path, interrupted: job.mode)
        }
    }

    /// The store that has the bitmap or its targets.
    ///
    /// - Returns: nil for a bitmap in an image beside which no store can be made, so that no target
    ///   of it can be known.
    mutating func store() throws(MirrorError) -> BitmapStore? {
        do throws(BitmapStoreError) {
            guard case .image(let name) = reference else {
                return try records.openExisting(for: source.identity)
            }
            if let store = try records.existing(for: source.identity) { return store }
            do throws(BitmapStoreError) {
                return try records.open(for: source.identity)
            } catch {
                warnings.append(
                    "what the targets of bitmap '\(name)' lack can't be kept, so that it serves "
                        + "this one target alone: \(error.problem)")
                return nil
            }
        } catch {
            throw .store(error)
        }
    }

    /// Begins the record of the job.
    ///
    /// - Parameter working: what is copied, if it does not follow from bitmap and target.
    mutating func begin(
        in store: BitmapStore, working: borrowing DirtyBitmap? = nil
    ) throws(MirrorError) -> StoreJob {
        let job: StoreJob
        do throws(BitmapStoreError) {
            job =
                switch imageMarks {
                case let marks?:
                    try store.beginJob(record, working: working, imageMarks: marks.bits.copy())
                case nil: try store.beginJob(record, working: working)
                }
        } catch {
            throw .store(error)
        }
        let forgotten = job.forgottenTargets.map(\.path.string)
        if let reference, !forgotten.isEmpty {
            warnings.append(
                "something else has cleared bitmap '\(reference.name)' in the image, or made it "
                    + "anew: what \(forgotten.joined(separator: ", ")) lacked is no longer known")
        }
        return job
    }

    /// Refuses a target that does not hold the mirror that the bitmap goes on from, and a source
    /// that was written without a mark, as far as either can be told.
    mutating func requireBase(in store: BitmapStore) throws(MirrorError) {
        guard let reference else { preconditionFailure("an incremental mirror by a bitmap") }
        if !isTracked { evidence.append(.bitmap(reference.name)) }
        noteStorePlace(reference)
        let past = try past(of: reference, in: store)
        let known = past.targets.last { held.identity.difference(from: $0.identity) == nil }
        record.heldContent = held.identity
        if let known {
            if held.isBelow { evidence.append(.targetStandsOn(held.path.string)) }
            try requireUntouched(known, reference.name)
        } else {
            try requireVouched(past, reference.name)
        }
        let path = source.path
        try requireMarkedSource(reference.name, in: store) { (how, cause) in
            .unmarkedWrites(bitmap: reference.name, source: path, how: how, cause: cause)
        }
    }

    /// Who writes the source without being asked for a store finds another one, or none.
    mutating func noteStorePlace(_ reference: BitmapReference) {
        guard case .stored = reference, !StorePlace.isUsual(records.path, for: source.device)
        else { return }
        evidence.append(
            .storeElsewhere(records.path.string, usual: StorePlace.path(for: source).string))
    }

    /// What the store knows of a bitmap.
    private struct Past {
        let targets: [StoredTarget]
        /// Of all bitmaps.
        let jobs: [StoredJob]
        /// Whether the bitmap has all that was ever marked in it.
        let isWhole: Bool

        /// Where the targets are, each place once.
        var paths: [String] {
            targets.map(\.path.string).reduce(into: []) {
                if !$0.contains($1) { $0.append($1) }
            }
        }
    }

    private func past(
        of reference: BitmapReference, in store: BitmapStore
    ) throws(MirrorError) -> Past {
        do throws(BitmapStoreError) {
            let jobs = try store.jobs()
            guard let imageMarks else {
                let isWhole = try store.history(of: reference)?.history.isWhole ?? true
                return Past(
                    targets: try store.bitmap(reference.name).targets, jobs: jobs,
                    isWhole: isWhole)
            }
            do throws(BitmapStoreError) {
                let targets = try store.targets(of: reference, imageMarks: imageMarks.bits.copy())
                let history = try store.history(of: reference)?.history
                return Past(targets: targets, jobs: jobs, isWhole: history?.isWhole ?? true)
            } catch .bitmapRemade where request.allowNewTarget || request.verification == .all {
                return Past(targets: [], jobs: jobs, isWhole: true)
            }
        } catch {
            throw .store(error)
        }
    }

    private mutating func requireUntouched(
        _ known: StoredTarget, _ name: String
    ) throws(MirrorError) {
        let found = held.evidence(since: known.witness)
        if case .written(let how) = found {
            let error = MirrorError.foreignWrites(bitmap: name, target: held.path, how: how)
            guard request.verification == .all || request.allowNewTarget else { throw error }
            if request.allowNewTarget {
                evidence.append(.targetVouched)
                record.doubts.insert(.vouched)
            }
            warnings.append("\(held.path) was written by something else: \(how)")
        }
        note(found)
        evidence += known.doubts.map { .notProven($0) }
    }

    /// What the witness of the target says becomes evidence, and a doubt that stays.
    mutating func note(_ found: WriteEvidence) {
        switch found {
        case .written: break
        case .unchanged: evidence.append(.targetUntouched)
        case .timesOnly(let how):
            evidence.append(.targetTouched(how))
            record.doubts.insert(.touched)
        case .unknown(let why):
            evidence.append(.targetUnknown(why))
            record.doubts.insert(.unseen)
        }
    }

    /// The target is none that the bitmap knows.
    private mutating func requireVouched(_ past: Past, _ name: String) throws(MirrorError) {
        guard !request.allowNewTarget else { return evidence.append(.targetVouched) }
        // Nothing else that the target is compared with would tell as much.
        for job in past.jobs
        where job.mode != .top && held.identity.difference(from: job.target) == nil {
            throw .halfMirror(bitmap: name, target: held.path, interrupted: job.mode)
        }
        let same = past.targets.last { $0.path.string == held.resolvedPath }
        // Of one that was replaced, or the only one, it helps to know what is another about it.
        if let one = same ?? (past.targets.count == 1 ? past.targets.first : nil) {
            throw .otherTarget(
                bitmap: name, target: held.path, known: [one.path.string],
                difference: held.identity.difference(from: one.identity))
        }
        guard past.targets.isEmpty else {
            throw .otherTarget(
                bitmap: name, target: held.path, known: past.paths, difference: nil)
        }
        guard past.isWhole else { throw .marksTaken(bitmap: name, target: held.path) }
        // Of a disk in use no sample can tell whether the target holds a mirror of it.
        guard live == nil else {
            throw .otherTarget(bitmap: name, target: held.path, known: [], difference: nil)
        }
        evidence.append(.targetUnknown("no mirror to it is recorded"))
    }

    /// Refuses a source that was written without a mark. A job that compares everything afterwards
    /// finds what it lacks: then the other targets of the bitmap have to be told.
    ///
    /// - Parameter refusal: the error, of how the write showed and why it was not marked.
    mutating func requireMarkedSource(
        _ name: String, in store: BitmapStore,
        _ refusal: (String, MissedWriteCause) -> MirrorError
    ) throws(MirrorError) {
        let finding = try sourceFinding(in: store)
        record.sourceDoubt = finding.doubt
        switch finding {
        case .marked: break
        case .touched(let how): evidence.append(.sourceTouched(how))
        case .unknown(let why):
            evidence.append(.sourceUnknown(why))
        case .unmarked(let how, let cause):
            guard request.verification == .all else {
                try refuse(.missed, in: store, refusal(how, cause))
            }
            record.hasMissedWrite = true
            warnings.append(Self.missedWrite(source, name, how))
        }
    }

    /// For a job that copies everything: it misses nothing, but others may have.
    mutating func noteMissedWrite(in store: BitmapStore) throws(MirrorError) {
        guard let reference else { return }
        let finding = try sourceFinding(in: store)
        record.sourceDoubt = finding.doubt
        guard case .unmarked(let how, _) = finding else { return }
        record.hasMissedWrite = true
        let hasOthers: Bool
        do throws(BitmapStoreError) {
            hasOthers = try store.targets(of: reference).contains {
                target.identity.difference(from: $0.identity) != nil
            }
        } catch {
            throw .store(error)
        }
        if hasOthers { warnings.append(Self.missedWrite(source, reference.name, how)) }
    }

    private static func missedWrite(_ source: Disk, _ name: String, _ how: String) -> String {
        "\(source.path) was written without a mark in bitmap '\(name)' (\(how)): the next mirror "
            + "to each other target of the bitmap copies everything"
    }

    /// Refuses a target that differs from the source in a sample of what will not be copied.
    ///
    /// - Parameters:
    ///   - name: that of the bitmap; nil: a change map says it.
    ///   - store: keeps in mind that it was.
    mutating func requireSample(
        without working: consuming DirtyBitmap, _ name: String?, in store: BitmapStore? = nil
    ) throws(MirrorError) {
        // What differs in a disk in use may just have been written.
        guard live == nil, let offset = difference(without: working) else { return }
        let error = MirrorError.otherContent(bitmap: name, target: target.path, offset: offset)
        guard let store else { throw error }
        try refuse(.differed, in: store, error)
    }

    /// Where a sample of what will not be copied differs; nil: nowhere. It is evidence if something
    /// was compared.
    mutating func difference(without working: consuming DirtyBitmap) -> Int64? {
        let found = Sample.compare(source, target, without: working)
        if found.places > 0 { evidence.append(.sample(places: found.places)) }
        record.samplePlaces = found.places
        return found.difference
    }
}
