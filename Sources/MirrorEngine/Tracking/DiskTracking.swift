internal import BitmapStore
internal import BlockStorage
public import DirtyBitmap
internal import KernelTracking
internal import SystemPackage

/// The kernel tracks a disk for named bitmaps: it marks what is written from the beginning to the
/// end of tracking, without a process of ours.
///
/// What it has marked is brought into the bitmaps before anything works with them. A tracker lives
/// as long as the machine runs. If it ends in any other way than by `stop`, if it has lost
/// anything, or if another disk is in the place of its own, the bitmaps are inconsistent, until a
/// full mirror.
public struct DiskTracking: Sendable {
    /// The disk, open for reading.
    let disk: Disk
    /// Where its bitmaps are kept.
    let records: RecordedMirror.RecordPlace

    /// - Throws: `.live(.notADisk)` for a file or an image.
    public init(
        of disk: Disk, records: RecordedMirror.RecordPlace
    ) throws(MirrorError) {
        guard disk.image == nil, disk.device.kind == .disk else {
            throw .live(.notADisk(disk.path))
        }
        self.disk = disk
        self.records = records
    }

    /// What the pinned tracker of the disk is called: `8:16` has no place in a name of bpffs.
    var name: String { DiskTracker.name(for: disk.device) }

    /// Begins to track the disk for a bitmap, which is added if it is not there. If the disk is
    /// tracked for another bitmap already, the same tracker serves both.
    ///
    /// A bitmap that has missed a write before is marked as a whole for its targets.
    ///
    /// - Parameter granularity: of a bitmap that is added, and of a tracker that is begun.
    /// - Returns: whether there was no tracker of the disk before, and what one that was there had
    ///   lost: its bitmaps are inconsistent, and another has begun.
    public func start(
        bitmap: String, granularity: Granularity = .default
    ) throws(MirrorError) -> (isNew: Bool, lost: String?) {
        let store = try RecordedMirror.storing { () throws(BitmapStoreError) in
            let store = try records.open(for: disk.identity)
            if try !store.bitmaps().contains(where: { $0.name == bitmap }) {
                try store.add(bitmap, granularity: granularity) { disk.witness() }
            }
            return store
        }
        let settlement = try settle(in: store)
        var lost: String?
        if case .lost(let reason) = settlement { lost = reason }
        let (tracker, isNew) = try tracker(settlement, granularity)
        do throws(MirrorError) {
            // What was written until now is marked, or missed. The tracker sees what comes.
            let witness = disk.freshWitness()
            guard let stored = tracker.stored else { throw .live(.noBootID) }
            try RecordedMirror.storing { () throws(BitmapStoreError) in
                try store.beginTracking(
                    bitmap, by: stored, merges: tracker.merges.last, sourceWitness: witness,
                    judge: SourceFinding.judge(disk))
            }
        } catch {
            if isNew { try? tracker.stop() }
            throw error
        }
        return (isNew, lost)
    }

    /// The tracker of the disk, which is begun if there is none that can be used.
    private func tracker(
        _ settlement: Settlement, _ granularity: Granularity
    ) throws(MirrorError) -> (DiskTracker, isNew: Bool) {
        if case .tracked(let found) = settlement { return (found, false) }
        do throws(TrackingError) {
            let tracker = try DiskTracker.start(
                FilePath(disk.resolvedPath), granularity: granularity, name: name)
            return (tracker, true)
        } catch .nameTaken {
            throw .live(.trackedElsewhere(disk.path))
        } catch {
            throw .live(.tracking(error))
        }
    }

    /// Ends tracking for a bitmap, which has all marks until now; nil: for all of them.
    ///
    /// - Returns: the names of the bitmaps.
    /// - Throws: `.live(.trackingLost)` if the tracker had lost something: it has ended, and its
    ///   bitmaps are inconsistent.
    public func stop(bitmap: String? = nil) throws(MirrorError) -> [String] {
        let store = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try records.existing(for: disk.identity)
        }
        switch try store.map({ (store) throws(MirrorError) in try settle(in: store) }) ?? .none {
        case .none:
            // One that no store knows goes all the same.
            try tracking { () throws(TrackingError) in try DiskTracker.stop(name: name) }
            return []
        case .lost(let reason): throw .live(.trackingLost(disk.path, reason))
        case .tracked(let tracker):
            guard let store, let stored = tracker.stored else { throw .live(.noBootID) }
            let names = try RecordedMirror.storing { () throws(BitmapStoreError) in
                try store.endTracking(by: stored, of: bitmap, isLost: false)
            }
            let isLast = try RecordedMirror.storing { () throws(BitmapStoreError) in
                try !store.bitmaps().contains { $0.tracker == stored }
            }
            guard isLast else { return names }
            try tracking { () throws(TrackingError) in try tracker.stop() }
            return names
        }
    }

    /// What has become of the marks of a disk.
    enum Settlement: Sendable {
        /// The bitmaps have them. Nothing else can use the tracker as long as it is held.
        case tracked(DiskTracker)
        /// The disk is tracked for no bitmap of the store.
        case none
        /// They can't be used, for this reason: the bitmaps are inconsistent from now on.
        case lost(String)
    }

    /// Brings what the kernel has marked into the bitmaps, durably, before it is forgotten there.
    ///
    /// - Parameter atRest: the disk has to be at rest, or the kernel may not have told of a write
    ///   yet that has reached the disk.
    func settle(
        in store: BitmapStore, atRest: Bool = false
    ) throws(MirrorError) -> Settlement {
        let known = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try store.bitmaps().compactMap(\.tracker)
        }
        let trackers = Set(known)
        let tracker: DiskTracker
        do throws(TrackingError) {
            tracker = try DiskTracker.open(name: name, patience: Self.patience)
        } catch {
            return try settle(trackers, without: error, in: store)
        }
        guard let stored = tracker.stored else { throw .live(.noBootID) }
        try forget(trackers.filter { $0 != stored }, in: store)
        // What it has marked belongs to bitmaps of another store: it is not taken from them.
        guard trackers.contains(stored) else {
            return trackers.isEmpty ? .none : .lost("another tracker is in the place of theirs")
        }
        if atRest { try requireRest(tracker) }
        // In this order: what is written after the look shows, whatever becomes of its marks.
        let witness = disk.freshWitness()
        var bits = DirtyBitmap(size: tracker.size, granularity: tracker.granularity)
        _ = tracker.take(into: &bits)
        let names = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try store.merge(
                bits, of: stored, number: tracker.beginMerge(), released: tracker.merges.released,
                sourceWitness: witness)
        }
        guard !names.isEmpty else {
            try tracking { () throws(TrackingError) in try tracker.stop() }
            return .lost(
                "the store is an older copy, and lacks marks that the kernel has forgotten")
        }
        tracker.release()
        // What was lost until now concerns what was taken, too.
        let losses = try tracking { () throws(TrackingError) in try tracker.losses() }
        guard let loss = losses.first else { return .tracked(tracker) }
        try forget(trackers, in: store)
        try tracking { () throws(TrackingError) in try tracker.stop() }
        return .lost("\(loss)")
    }

    /// What tracks the disk for a bitmap, which has all its marks now.
    ///
    /// - Throws: if nothing does, or not any more.
    func tracker(
        of bitmap: String, in store: BitmapStore, atRest: Bool = false
    ) throws(MirrorError) -> DiskTracker {
        let wasTracked = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try store.bitmap(bitmap).tracker != nil
        }
        switch try settle(in: store, atRest: atRest) {
        case .tracked(let tracker):
            let now = try RecordedMirror.storing { () throws(BitmapStoreError) in
                try store.bitmap(bitmap).tracker
            }
            if now == tracker.stored { return tracker }
            guard wasTracked else { break }
            throw .live(.trackingLost(disk.path, "the bitmap lacks marks that were forgotten"))
        case .lost(let reason): throw .live(.trackingLost(disk.path, reason))
        case .none: break
        }
        let isInconsistent = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try store.bitmap(bitmap).state == .inconsistent
        }
        throw isInconsistent
            ? .store(.inconsistent(name: bitmap, path: store.path))
            : .live(.notTracked(bitmap: bitmap, disk: disk.path))
    }

    /// There is no tracker of the disk that can be used.
    private func settle(
        _ trackers: Set<StoredTracker>, without error: TrackingError, in store: BitmapStore
    ) throws(MirrorError) -> Settlement {
        switch error {
        case .noSuchTracker: try forget(trackers, in: store)
        case .incomplete, .otherVersion, .otherDisk:
            // Nothing of what it has can be used.
            try forget(trackers, in: store)
            try? DiskTracker.stop(name: name)
        // One that can't be looked at may be as good as ever.
        default:
            guard !trackers.isEmpty else { return .none }
            throw .live(.tracking(error))
        }
        return trackers.isEmpty ? .none : .lost(error.problem)
    }

    /// How long a disk has to come to rest, in a job that it has to stand still for.
    private static var patience: Duration { .seconds(2) }

    private func requireRest(_ tracker: DiskTracker) throws(MirrorError) {
        // What a completion was not told of is marked again by the first call.
        for _ in 0..<2 {
            switch tracker.waitUntilIdle(limit: Self.patience) {
            case .idle: return
            case .lostCompletion: continue
            case .busy: throw .live(.inUse(disk.path))
            }
        }
        throw .live(.inUse(disk.path))
    }

    /// Trackers that are not there any more, or can't vouch for what they have: their bitmaps are
    /// inconsistent.
    private func forget(
        _ trackers: Set<StoredTracker>, in store: BitmapStore
    ) throws(MirrorError) {
        for tracker in trackers {
            _ = try RecordedMirror.storing { () throws(BitmapStoreError) in
                try store.endTracking(by: tracker, isLost: true)
            }
        }
    }
}

/// The errors of trackers, in a job's terms.
func tracking<Value>(_ body: () throws(TrackingError) -> Value) throws(MirrorError) -> Value {
    do throws(TrackingError) { return try body() } catch { throw .live(.tracking(error)) }
}

extension DiskTracker {
    /// As bitmap stores know it; nil: the kernel does not tell which run of the machine it is.
    var stored: StoredTracker? {
        SystemView.live.bootID.map { StoredTracker(id: id.bytes, bootID: $0) }
    }

    /// The name of a disk's tracker: that of its number, which no two disks have at one time.
    static func name(for device: StorageDevice) -> String {
        "disk-" + device.number.map { $0 == ":" ? "-" : $0 }
    }
}
