internal import BlockStorage
internal import CBPF
public import DirtyBitmap
internal import Glibc
public import SystemPackage

extension DiskTracker {
    /// Begins to track a disk or partition. When this returns, every write that is submitted is
    /// marked, and the programs have been seen to work.
    ///
    /// - Parameters:
    ///   - granularity: at least 4 KiB.
    ///   - name: pins it under this name; nil: it ends with the handle.
    ///   - patience: how long writes that are in flight may take to complete. On a disk without
    ///     requests they have to.
    /// - Throws: why the disk or this machine can't be tracked.
    public static func start(
        _ path: FilePath, granularity: Granularity = .default, name: String? = nil,
        patience: Duration = .seconds(2)
    ) throws(TrackingError) -> DiskTracker {
        try checkMachine()
        guard granularity.bytes >= 4096 else { throw .granularityTooFine(granularity) }
        let disk = try disk(at: path)
        guard name == nil || disk.diskSequence != nil else {
            throw .noDiskSequence(release: TrackerCalls.kernelRelease)
        }
        let folder = try name.map { (name) throws(TrackingError) in try PinFolder(making: name) }
        do throws(TrackingError) {
            let tracker = try load(disk, granularity, folder)
            try tracker.begin(path, patience)
            return tracker
        } catch {
            try? folder?.remove()
            throw error
        }
    }

    private static func checkMachine() throws(TrackingError) {
        guard isBuiltIn else { throw .notBuiltIn }
        let release = TrackerCalls.kernelRelease
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        guard numbers.count == 2, (numbers[0], numbers[1]) >= (5, 12) else {
            throw .kernelTooOld(release: release)
        }
        guard (try? SystemCalls.open("/sys/kernel/btf/vmlinux", O_PATH)) != nil else {
            throw .noTypeInformation
        }
        let lockdown = (try? SystemCalls.text(at: "/sys/kernel/security/lockdown")) ?? ""
        guard !lockdown.contains("[confidentiality]") else { throw .lockedDown }
    }

    private static func disk(at path: FilePath) throws(TrackingError) -> TrackedDisk {
        guard let number = try TrackerCalls.deviceNumber(of: path), let disk = TrackedDisk(number)
        else { throw .notADisk(path: path) }
        guard !disk.sectors.isEmpty else { throw .noMedium(path: path) }
        if let reason = disk.obstacle() { throw .unsupportedDisk(path: path, reason: reason) }
        return disk
    }

    private static func load(
        _ disk: TrackedDisk, _ granularity: Granularity, _ folder: PinFolder?
    ) throws(TrackingError) -> DiskTracker {
        guard let tableHash = disk.tableHash else {
            throw .notPermitted(call: "reading the table of \(disk.path)")
        }
        let plan = ringmirror_tracker_plan(
            major: disk.disk.major, minor: disk.disk.minor,
            granule_shift: UInt32(granularity.bytes.trailingZeroBitCount - 9),
            is_bio_based: disk.isBioBased ? 1 : 0, first_sector: disk.sectors.lowerBound,
            sector_count: UInt64(disk.sectors.count))
        var files = try TrackerFiles(loading: plan)
        let state = try MappedState(ofMap: files[.state])
        var identities: [ringmirror_bpf_program] = []
        for part in TrackerFiles.Part.programs {
            identities.append(try TrackerCalls.program(files[part]))
        }
        let found = identities
        state.update { info in
            info.magic = ringmirror_tracker_magic
            info.version = ringmirror_tracker_version
            info.state = ringmirror_tracker_starting
            info.setID(TrackerID.random().bytes)
            info.plan = plan
            info.device_major = disk.device.major
            info.device_minor = disk.device.minor
            info.disk_sequence = disk.diskSequence ?? 0
            info.disk_sectors = disk.diskSectors
            info.table_hash = tableHash
            info.started_at = TrackerCalls.wallTime
            info.setPrograms(found)
        }
        try files.attach()
        return try DiskTracker(disk, files, state, folder)
    }

    /// Sees that the programs work, and pins them.
    private func begin(_ path: FilePath, _ patience: Duration) throws(TrackingError) {
        // Until all that was in flight has completed, nobody can know the floor of the balance.
        if !settleFloor(patience), disk.isBioBased { throw .tooBusy(path: path) }
        let books = Books(disk, state)
        state.update { info in
            info.completed_at_start = books.before.counted
            info.unknown_at_start = books.before.unknown
            info.kernel_sectors_at_start = books.kernel ?? 0
            info.is_count_exact = books.isExact ? 1 : 0
            info.has_switch = disk.folder.hasSwitchedOn ? 1 : 0
        }
        try probe(path)
        state.update { $0.state = ringmirror_tracker_ready }
        guard let folder else { return }
        for part in TrackerFiles.Part.all { try folder.pin(files[part], as: part) }
    }

    /// A direct read of ours has to be seen by all programs that a read passes, with its place and
    /// length: then they are attached, know the kernel's structures, and mean this disk.
    private func probe(_ path: FilePath) throws(TrackingError) {
        let opened: Descriptor
        do throws(Errno) {
            opened = try SystemCalls.open(path.string, O_RDONLY | O_DIRECT | O_NONBLOCK)
        } catch {
            throw .system(call: "open", path: path.string, code: error)
        }
        let bytes = UInt32(min(4096, size))
        let before = disk.folder.sectorsRead
        var seen: (queued: UInt64, completed: UInt64) = (0, 0)
        // Another read of the same place may come between, and a completion be lost: see `losses`.
        for _ in 0..<5 {
            seen = state.probe(sector: disk.sectors.lowerBound, bytes: bytes) {
                TrackerCalls.readDirectly(opened, count: Int(bytes))
            }
            guard seen.queued > 0, seen.completed > 0 else { continue }
            // Whatever the switch says: without an account of the kernel's own nothing confirms
            // what is seen.
            guard disk.folder.sectorsRead > before else {
                throw .unsupportedDisk(path: path, reason: .countersOff)
            }
            return
        }
        throw .selfTest(path: path, seen.queued == 0 ? .submission : .completion)
    }
}
