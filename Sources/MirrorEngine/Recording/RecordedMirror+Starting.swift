public import BitmapStore
internal import BlockStorage
public import DirtyBitmap
public import Logging
internal import SystemPackage

// The ways to begin a recorded mirror anew. Each checks everything that can be checked, and takes
// the named bitmap, before the target's first byte is written.

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
                granularity: start.live?.granularity
                    ?? Granularity(forSize: source.geometry.size))
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

    /// Begins a mirror; a target that was made for it does not stay behind if that fails.
    private static func beginning(
        _ target: Disk, _ body: () throws(MirrorError) -> RecordedMirror
    ) throws(MirrorError) -> RecordedMirror {
        do throws(MirrorError) { return try body() } catch {
            target.device.removeIfCreated()
            throw error
        }
    }

    static func storing<Value: ~Copyable>(
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
}
