internal import BlockStorage
internal import CBPF
internal import DirtyBitmap

extension DiskTracker {
    /// Opens a tracker that has a name. Nothing else can as long as the handle lives.
    ///
    /// - Parameters:
    ///   - patience: how long to wait for another process that uses it.
    ///   - isLocked: what does not take marks can do without being the only one.
    /// - Throws: `.noSuchTracker`, `.inUse`; `.incomplete`, `.otherVersion`, `.otherDisk` for one
    ///   that can't be used.
    public static func open(
        name: String, patience: Duration = .zero, isLocked: Bool = true
    ) throws(TrackingError) -> DiskTracker {
        guard isBuiltIn else { throw .notBuiltIn }
        guard TrackerCalls.isPinFilesystem(PinFolder.filesystem) else { throw .noSuchTracker(name) }
        let end = TrackerCalls.monotonicTime + patience.nanoseconds
        while true {
            do throws(TrackingError) {
                return try open(try PinFolder(opening: name, isLocked: isLocked))
            } catch .inUse where TrackerCalls.monotonicTime < end {
                TrackerCalls.sleep(milliseconds: 5)
            }
        }
    }

    private static func open(_ folder: PinFolder) throws(TrackingError) -> DiskTracker {
        let name = folder.name
        let files = try TrackerFiles(pinnedIn: folder)
        let state = try MappedState(ofMap: files[.state])
        let info = state.info
        guard info.magic == ringmirror_tracker_magic else {
            throw .incomplete(name, lacks: "its state is not that of a tracker")
        }
        guard info.version == ringmirror_tracker_version else {
            throw .otherVersion(name, found: info.version)
        }
        guard info.state == ringmirror_tracker_ready else {
            throw .incomplete(name, lacks: "it was never started to the end")
        }
        let number = DeviceNumber(major: info.device_major, minor: info.device_minor)
        guard let disk = TrackedDisk(number), (disk.diskSequence ?? 0) == info.disk_sequence,
            disk.diskSectors == info.disk_sectors,
            disk.sectors.lowerBound == info.plan.first_sector,
            UInt64(disk.sectors.count) == info.plan.sector_count
        else { throw .otherDisk(name, number) }
        let tracker = try DiskTracker(disk, files, state, folder)
        for (part, tag) in zip(TrackerFiles.Part.programs, info.programTags) {
            guard try TrackerCalls.program(files[part]).tag == tag else {
                throw .incomplete(name, lacks: "\(part.name) is another one")
            }
        }
        return tracker
    }

    /// All trackers that have names.
    public static func list() throws(TrackingError) -> [TrackerDescription] {
        guard isBuiltIn else { throw .notBuiltIn }
        var found: [TrackerDescription] = []
        for name in try PinFolder.names() {
            do throws(TrackingError) {
                let tracker = try open(try PinFolder(opening: name, isLocked: false))
                found.append(
                    TrackerDescription(
                        name: name, path: tracker.disk.path, size: tracker.size,
                        granularity: tracker.granularity,
                        startedAt: tracker.state.info.started_at / 1_000_000_000,
                        problem: try tracker.losses().isEmpty
                            ? nil : .incomplete(name, lacks: "it has lost something")))
            } catch .noSuchTracker {
                continue
            } catch {
                found.append(
                    TrackerDescription(
                        name: name, path: name, size: 0, granularity: nil, startedAt: nil,
                        problem: error))
            }
        }
        return found
    }

    /// Ends a tracker that has a name, whatever state it is in. What it has marked is gone.
    public static func stop(name: String) throws(TrackingError) {
        guard isBuiltIn else { throw .notBuiltIn }
        guard TrackerCalls.isPinFilesystem(PinFolder.filesystem) else { throw .noSuchTracker(name) }
        try PinFolder(opening: name).remove()
    }

    /// Ends this tracker: its names go, and with the handle its programs.
    public func stop() throws(TrackingError) { try folder?.remove() }
}
