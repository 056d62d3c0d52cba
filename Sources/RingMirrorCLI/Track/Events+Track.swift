import RingMirror

extension Events {
    /// Tracking began or ended.
    struct Tracking: Encodable {
        let event = "tracking"
        let action, disk: String
        let bitmaps: [String]
        var isNew: Bool?

        init(_ action: String, _ disk: Disk, _ bitmaps: [String], isNew: Bool? = nil) {
            self.action = action
            self.disk = disk.path.string
            self.bitmaps = bitmaps
            self.isNew = isNew
        }
    }

    /// A disk that the kernel tracks.
    struct Tracker: Encodable {
        let event = "tracker"
        let disk: String
        let size: Int64
        let granularity: Int64?
        let startedAt: Int64?
        let problem: String?

        init(_ tracker: TrackerDescription) {
            disk = tracker.path
            size = tracker.size
            granularity = tracker.granularity?.bytes
            startedAt = tracker.startedAt
            problem = tracker.problem?.problem
        }
    }

    /// What the kernel has marked of a disk.
    struct TrackingStatus: Encodable {
        let event = "trackingStatus"
        let disk: String
        let tracked: Bool
        let bitmaps: [String]?
        let dirtyBytes, writtenBytes, inFlightBytes, granularity: Int64?
        let losses: [String]?

        init(_ disk: Disk, _ status: RingMirror.TrackingStatus?) {
            self.disk = disk.path.string
            tracked = status != nil
            bitmaps = status?.bitmaps
            dirtyBytes = status?.dirtyBytes
            writtenBytes = status?.writtenBytes
            inFlightBytes = status?.inFlightBytes
            granularity = status?.granularity.bytes
            losses = status?.losses.map(\.description)
        }
    }
}
