public import BitmapStore
internal import BlockStorage
public import DirtyBitmap
public import Logging
internal import SystemPackage

// The ways to begin a recorded mirror. Each checks everything that can be checked, and takes the
// named bitmap, before the target's first byte is written.

extension RecordedMirror {
    /// Makes all of `target` read as `source` does. If a bitmap is named, a success clears it:
    /// from then on it tells what this target lacks.
    ///
    /// - Throws: `MirrorError.store` if the bitmap can't be taken; `.invalidOption` for a bitmap
    ///   that is never cleared, on which a full mirror would have no effect.
    public static func full(
        from source: Disk, to target: Disk, request: Request = Request(.full),
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        try requireBitmapForMode(request)
        guard request.bitmapMode != .never else {
            throw .invalidOption(
                "a full mirror does nothing with a bitmap whose mode is never: leave one out")
        }
        var working = DirtyBitmap(
            size: source.geometry.size,
            granularity: MirrorJob.granularity(forSize: source.geometry.size))
        working.setAll()
        var record: StoreJob?
        let taken = try TakenBitmap(request, of: source)
        if request.bitmap != nil, taken == nil {
            record = try storing { () throws(BitmapStoreError) in
                try records.openExisting(for: source.identity).beginJob(
                    jobRequest(from: source, to: target, request), working: working.copy())
            }
        }
        return try RecordedMirror(
            from: source, to: target, request, records: records, record: record, resumed: nil,
            working: working, taken: taken, logger: logger)
    }

    /// Makes `target` read as `source` does where the source's image has something itself, and
    /// those below it down to the base of the request, if it has one.
    ///
    /// - Throws: `.invalidOption` for a raw disk; `.storage` for a base that is not below it.
    public static func top(
        from source: Disk, to target: Disk, request: Request = Request(.top),
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        var request = request
        request.bitmap = nil
        try requireBitmapForMode(request)
        return try RecordedMirror(
            from: source, to: target, request, records: records, record: nil, resumed: nil,
            working: try source.topBits(above: request.base), logger: logger)
    }

    /// The same where a bitmap in the source's image is dirty. Nothing but a sample of what it
    /// calls clean tells whether the target holds what the bitmap goes on from.
    private static func incremental(
        from source: Disk, to target: Disk, taken: TakenBitmap, request: Request,
        records: RecordPlace, logger: Logger?
    ) throws(MirrorError) -> RecordedMirror {
        if !request.allowNewTarget,
            let offset = ResumeCheck.firstDifference(source, target, without: taken.bits)
        {
            throw .otherContent(bitmap: taken.name, target: target.path, offset: offset)
        }
        return try RecordedMirror(
            from: source, to: target, request, records: records, record: nil, resumed: nil,
            working: taken.bits.copy(), taken: taken, logger: logger)
    }

    /// Makes `target` read as `source` does where the named bitmap of the request is dirty.
    ///
    /// - Throws: `MirrorError.store` if the bitmap can't be taken; unless the request allows that,
    ///   `.otherTarget` if its last success wrote another target than this, and `.halfMirror` if
    ///   it has none and a full mirror to this target was interrupted.
    public static func incremental(
        from source: Disk, to target: Disk, request: Request,
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        guard let name = request.bitmap else {
            throw .invalidOption("an incremental mirror needs a bitmap or a map")
        }
        if let taken = try TakenBitmap(request, of: source) {
            return try incremental(
                from: source, to: target, taken: taken, request: request, records: records,
                logger: logger)
        }
        let store = try storing { () throws(BitmapStoreError) in
            try records.openExisting(for: source.identity)
        }
        if !request.allowNewTarget { try requireBase(target, of: name, in: store) }
        let notes = try foreignWrites(to: target, name, in: store)
        let record = try storing { () throws(BitmapStoreError) in
            try store.beginJob(jobRequest(from: source, to: target, request), working: nil)
        }
        let working = try storing { () throws(BitmapStoreError) in try record.loadRemaining() }
        return try RecordedMirror(
            from: source, to: target, request, records: records, record: record,
            resumed: nil, working: working, notes: notes, logger: logger)
    }

    /// Makes `target` read as `source` does where `dirty` says so, which comes from elsewhere and
    /// stays as it is.
    public static func incremental(
        from source: Disk, to target: Disk, dirty: borrowing DirtyBitmap,
        request: Request = Request(.incremental), records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        var request = request
        request.bitmap = nil
        try requireBitmapForMode(request)
        return try RecordedMirror(
            from: source, to: target, request, records: records, record: nil, resumed: nil,
            working: dirty.copy(), logger: logger)
    }

    /// Goes on with the interrupted job of this mode, bitmap and target.
    ///
    /// A promise that the target is zero is not taken: what was copied before is there.
    ///
    /// - Throws: `MirrorError.nothingToResume`; `.changed` if the source or the target is not what
    ///   it was, as far as their identities and a sample of what was copied tell; `.invalidOption`
    ///   for another bitmap mode than the job's.
    public static func resume(
        from source: Disk, to target: Disk, request: Request,
        records: RecordPlace, logger: Logger? = nil
    ) throws(MirrorError) -> RecordedMirror {
        try requireBitmapForMode(request)
        let store: BitmapStore
        do throws(BitmapStoreError) {
            store = try records.openExisting(for: source.identity)
        } catch .notFound {
            throw .nothingToResume(target: target.path, store: records.path)
        } catch {
            throw .store(error)
        }
        let jobs = try storing { () throws(BitmapStoreError) in try store.jobs() }
        // The record of a job on a bitmap in the image names none: the store has no such bitmap.
        let taken = try TakenBitmap(request, of: source)
        let bitmap: BitmapReference? = taken == nil ? request.bitmap.map { .stored($0) } : nil
        let wanted = jobs.filter { $0.mode == request.mode && $0.bitmap == bitmap }
        let same = wanted.first { target.identity.difference(from: $0.target) == nil }
        guard let job = same ?? wanted.first(where: { $0.targetPath.string == target.resolvedPath })
        else {
            throw .nothingToResume(target: target.path, store: records.path)
        }
        if let difference = target.identity.difference(from: job.target) {
            throw .changed(.target, path: target.path, difference: difference)
        }
        if let difference = source.identity.difference(from: job.source) {
            throw .changed(.source, path: source.path, difference: difference)
        }
        // What is written to a source with a bitmap is marked there by whoever tracks it.
        if job.bitmap == nil, let then = job.sourceWitness.compactMap(\.modified).max(),
            let now = source.modifiedAt, then != now
        {
            throw .changed(.source, path: source.path, difference: "it was written since then")
        }
        if taken == nil, let mode = request.bitmapMode, mode != job.bitmapMode {
            throw .invalidOption(
                "the interrupted job was begun with --bitmap-mode \(job.bitmapMode.rawValue), "
                    + "which can't be changed: leave the option out, or run without --resume")
        }
        var request = request
        if taken == nil { request.bitmapMode = job.bitmapMode }
        // It was true before the first attempt wrote there.
        request.options.targetIsZero = false
        let record = try storing { () throws(BitmapStoreError) in
            try store.resumeJob(
                job.id, sourceWitness: source.witness, targetWitness: target.witness)
        }
        let working = try storing { () throws(BitmapStoreError) in try record.loadRemaining() }
        // What an incremental mirror did not copy itself may differ for reasons of its own.
        if job.mode == .full,
            let offset = ResumeCheck.firstDifference(source, target, without: working)
        {
            throw .changed(
                .target, path: target.path,
                difference: "it differs from \(source.path) at offset \(offset), which the job had "
                    + "copied; one of them was written since")
        }
        return try RecordedMirror(
            from: source, to: target, request, records: records, record: record,
            resumed: job, working: working, taken: taken, logger: logger)
    }

    /// Refuses a target that does not hold the mirror that a bitmap goes on from, as far as the
    /// store can tell.
    private static func requireBase(
        _ target: Disk, of name: String, in store: BitmapStore
    ) throws(MirrorError) {
        let known = try storing { () throws(BitmapStoreError) in
            try store.targets(of: .stored(name))
        }
        if known.contains(where: { target.identity.difference(from: $0.identity) == nil }) {
            return
        }
        if let last = known.last(where: { $0.path.string == target.resolvedPath }) ?? known.last,
            let difference = target.identity.difference(from: last.identity)
        {
            throw .otherTarget(
                bitmap: name, target: target.path, recorded: last.path.string,
                difference: difference)
        }
        let jobs = try storing { () throws(BitmapStoreError) in try store.jobs() }
        for job in jobs
        where job.mode == .full && target.identity.difference(from: job.target) == nil {
            // A bitmap in this mode has got all that the full mirror of it left undone.
            if job.bitmap == .stored(name) && job.bitmapMode == .always { continue }
            throw .halfMirror(bitmap: name, target: target.path)
        }
    }

    /// A note if somebody else has written to a target image since the bitmap's last success: what
    /// the bitmap says may then not be all that the target lacks.
    private static func foreignWrites(
        to target: Disk, _ name: String, in store: BitmapStore
    ) throws(MirrorError) -> [String] {
        let known = try storing { () throws(BitmapStoreError) in
            try store.target(target.identity, of: .stored(name))
        }
        guard let then = known?.witness.compactMap(\.modified).max(),
            let now = target.modifiedAt, then != now
        else { return [] }
        return [
            "\(target.path) was written by something else since the last mirror by '\(name)', so "
                + "that it may lack more than the bitmap says; --verify=all tells"
        ]
    }

    private static func requireBitmapForMode(_ request: Request) throws(MirrorError) {
        guard request.bitmapMode == nil || request.bitmap != nil else {
            throw .invalidOption("a bitmap mode says what becomes of a bitmap, and there is none")
        }
    }

    private static func storing<Value: ~Copyable>(
        _ body: () throws(BitmapStoreError) -> Value
    ) throws(MirrorError) -> Value {
        do throws(BitmapStoreError) { return try body() } catch { throw .store(error) }
    }
}

extension RecordedMirror.RecordPlace {
    var path: FilePath {
        switch self {
        case .store(let store): store.path
        case .path(let path): path
        }
    }

    /// The store, made if it is not there.
    func open(for source: DeviceIdentity) throws(BitmapStoreError) -> BitmapStore {
        switch self {
        case .store(let store): store
        case .path(let path): try BitmapStore.openOrCreate(path, for: source)
        }
    }

    /// The store, if it is there.
    func existing(for source: DeviceIdentity) throws(BitmapStoreError) -> BitmapStore? {
        do throws(BitmapStoreError) {
            return try openExisting(for: source)
        } catch .notFound {
            return nil
        }
    }

    func openExisting(for source: DeviceIdentity) throws(BitmapStoreError) -> BitmapStore {
        switch self {
        case .store(let store): store
        case .path(let path): try BitmapStore.open(path, for: source, access: .readWrite)
        }
    }
}
