internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import KernelTracking
internal import SystemPackage

/// The bitmap of a tracked disk, as what tells where another disk need not be the same.
struct ExcusingBitmap {
    private let name: String
    private let store: BitmapStore
    private let tracking: DiskTracking
    private let second: Disk
    /// What is excused may be no coarser: neither marks of the bitmap nor of its tracker are.
    let granularity: Granularity

    /// - Throws: if the disk is not tracked for the bitmap, or the other disk is no target of it.
    init(
        _ name: String, in records: RecordedMirror.RecordPlace, of first: Disk, for second: Disk
    ) throws(MirrorError) {
        self.name = name
        self.second = second
        store = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try records.openExisting(for: first.identity)
        }
        tracking = try DiskTracking(of: first, records: records)
        let tracker = try tracking.tracker(of: name, in: store)
        let bitmap = try RecordedMirror.storing { [store] () throws(BitmapStoreError) in
            try store.bitmap(name)
        }
        granularity = min(bitmap.granularity, tracker.granularity)
    }

    /// What an increment to the other disk would copy now.
    func load() throws(MirrorError) -> DirtyBitmap {
        _ = try tracking.tracker(of: name, in: store)
        return try RecordedMirror.storing { () throws(BitmapStoreError) in
            let known = try store.bitmap(name).targets.filter { $0.lastSuccess != nil }
            guard known.contains(where: { second.identity.difference(from: $0.identity) == nil })
            else {
                throw .unknownTarget(
                    name: name, target: second.path, known: known.map(\.path.string))
            }
            return try store.load(name, for: second.identity)
        }
    }
}
