internal import BitmapStore
internal import BlockStorage
public import DirtyBitmap
public import KernelTracking
internal import SystemPackage

/// What the kernel knows of a disk that it tracks.
public struct TrackingStatus: Sendable {
    /// Bytes that one mark stands for.
    public let granularity: Granularity
    /// What is marked in the kernel, and in no bitmap yet, in bytes.
    public let dirtyBytes: Int64
    /// What was written to the disk since tracking began, in bytes.
    public let writtenBytes: Int64
    /// What has begun to be written and has not ended, in bytes.
    public let inFlightBytes: Int64
    /// What the tracker has lost: its bitmaps are inconsistent then. It is sure only at rest.
    public let losses: [TrackingLoss]
    /// The bitmaps that it marks for.
    public let bitmaps: [String]
}

extension DiskTracking {
    /// Looks at the tracker of the disk, and changes nothing.
    ///
    /// - Returns: nil: the disk is not tracked.
    public func status() throws(MirrorError) -> TrackingStatus? {
        let tracker: DiskTracker
        let losses: [TrackingLoss]
        do throws(TrackingError) {
            tracker = try DiskTracker.open(name: name, isLocked: false)
            losses = try tracker.losses()
        } catch .noSuchTracker {
            return nil
        } catch {
            throw .live(.tracking(error))
        }
        let bitmaps = try RecordedMirror.storing { () throws(BitmapStoreError) in
            try records.existing(for: disk.identity, .readOnly)?.bitmaps() ?? []
        }
        return TrackingStatus(
            granularity: tracker.granularity, dirtyBytes: tracker.dirtyBytes(),
            writtenBytes: tracker.writtenBytes, inFlightBytes: tracker.inFlightBytes,
            losses: losses,
            bitmaps: bitmaps.filter { $0.tracker != nil && $0.tracker == tracker.stored }
                .map(\.name))
    }

    /// All disks of the machine that are tracked.
    public static func all() throws(MirrorError) -> [TrackerDescription] {
        try tracking { () throws(TrackingError) in try DiskTracker.list() }
    }
}
