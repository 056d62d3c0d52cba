internal import BlockStorage
internal import DirtyBitmap
internal import KernelTracking
internal import SystemPackage

/// What is written to two disks while they are compared.
///
/// The kernel tells of the first, and of the second if that is a disk; where it is a file, a write
/// to it spoils the answer.
final class WritesToBoth {
    let size: Int64
    let granularity: Granularity
    private let first: DiskTracker
    private let second: DiskTracker?
    private let disks: (first: Disk, second: Disk)
    /// Of each, how it was when its tracker began, if it has one, and what that had counted.
    private let watches: (first: WriteWatch, second: WriteWatch)

    /// How long both may take to come to rest.
    private static var patience: Duration { .seconds(2) }

    /// - Parameter most: the coarsest granularity that will do.
    /// - Throws: if one is a disk that can't be tracked.
    init(
        _ first: Disk, _ second: Disk, granularity most: Granularity
    ) throws(MirrorError) {
        size = min(first.geometry.size, second.geometry.size)
        let maps = (first.sourceMap(size: size), second.sourceMap(size: size))
        let finest = min(Granularity(finestForSize: size, bitsMax: 1 << 28), most)
        let block = JobPlan.blockSize(maps.0.alignment, maps.1.alignment, finest.bytes)
        let granularity = (try? Granularity(bytes: Int64(block))) ?? .max
        self.granularity = granularity
        func tracker(_ disk: Disk) throws(MirrorError) -> DiskTracker {
            try tracking { () throws(TrackingError) in
                try DiskTracker.start(FilePath(disk.resolvedPath), granularity: granularity)
            }
        }
        self.first = try tracker(first)
        let isDisk = second.image == nil && second.device.kind == .disk
        self.second = isDisk ? try tracker(second) : nil
        disks = (first, second)
        watches = (WriteWatch(first.devices), WriteWatch(second.devices))
    }

    /// What was written since the last call, of the bytes that both have.
    func drain() -> Written { Written(first: take(first), second: take(second)) }

    struct Written: ~Copyable {
        let first: DirtyBitmap
        let second: DirtyBitmap
    }

    private func take(_ tracker: DiskTracker?) -> DirtyBitmap {
        guard let tracker else { return DirtyBitmap(size: size, granularity: granularity) }
        var taken = DirtyBitmap(size: tracker.size, granularity: granularity)
        _ = tracker.take(into: &taken)
        return cut(taken)
    }

    /// What a bitmap of either side has dirty of the bytes that both have.
    func cut(_ bits: borrowing DirtyBitmap) -> DirtyBitmap {
        var common = DirtyBitmap(size: size, granularity: granularity)
        bits.forEachDirtyRun(in: 0..<size) { common.set($0) }
        return common
    }

    /// Whether there was a moment since the last drain at which nothing was in flight, and nothing
    /// had been written since.
    ///
    /// - Parameter both: else of the second alone.
    func comesToRest(both: Bool) -> Bool {
        let trackers = [both ? first : nil, second].compactMap(\.self)
        for tracker in trackers {
            // What was lost is marked again, and is drained next.
            guard case .idle = tracker.waitUntilIdle(limit: Self.patience) else { return false }
        }
        // In this order: what the first was written while the second came to rest, it has marked.
        return trackers.allSatisfy { $0.isClean && $0.inFlightBytes == 0 }
            && trackers.allSatisfy { $0.isClean }
    }

    /// - Throws: if a write was not seen, or a file was written that the kernel does not tell of.
    func requireNothingLost() throws(MirrorError) {
        for tracker in [first, second] {
            guard let tracker else { continue }
            let losses = try tracking { () throws(TrackingError) in try tracker.losses() }
            if let loss = losses.first { throw .live(.lost(loss)) }
        }
        try requireUntouched(first, watches.first)
        try requireUntouched(second, watches.second)
        if let path = disks.first.movedFile ?? disks.second.movedFile {
            throw .movedMeanwhile(path: path)
        }
    }

    /// Refuses a side that shows a write of which the kernel did not tell: of a file, or of what is
    /// below a disk, such as the file of a loop device. Where there were others, nobody can tell.
    private func requireUntouched(
        _ tracker: DiskTracker?, _ watch: WriteWatch
    ) throws(MirrorError) {
        guard let tracker else {
            if let (path, how) = watch.firstDoubtful() {
                throw .writtenMeanwhile(path: path, how: how)
            }
            return
        }
        guard tracker.writtenBytes == 0, let (path, how) = watch.firstWritten() else { return }
        throw .writtenMeanwhile(path: path, how: how)
    }
}
