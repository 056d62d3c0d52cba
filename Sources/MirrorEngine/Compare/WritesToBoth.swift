internal import BlockStorage
internal import DirtyBitmap
internal import KernelTracking
internal import SystemPackage

/// What is written to two disks while they are compared.
///
/// The kernel tells of the first, and of the second if that is a disk; where it is a file, or can't
/// be tracked, a write to it spoils the answer.
final class WritesToBoth {
    let size: Int64
    let granularity: Granularity
    private let first: DiskTracker
    private let second: DiskTracker?
    private let watch: WriteWatch?

    /// How long both may take to come to rest.
    private static var patience: Duration { .seconds(2) }

    init(_ first: Disk, _ second: Disk) throws(MirrorError) {
        size = min(first.geometry.size, second.geometry.size)
        let maps = (first.sourceMap(size: size), second.sourceMap(size: size))
        let finest = Granularity(finestForSize: size, bitsMax: 1 << 28)
        let block = JobPlan.blockSize(maps.0.alignment, maps.1.alignment, finest.bytes)
        let granularity = (try? Granularity(bytes: Int64(block))) ?? .max
        self.granularity = granularity
        self.first = try tracking { () throws(TrackingError) in
            try DiskTracker.start(FilePath(first.resolvedPath), granularity: granularity)
        }
        let isDisk = second.image == nil && second.device.kind == .disk
        self.second =
            isDisk
            ? try? DiskTracker.start(FilePath(second.resolvedPath), granularity: granularity) : nil
        watch = self.second == nil ? WriteWatch(second.devices) : nil
    }

    /// What was written since the last call, of the bytes that both have.
    func drain() -> Written { Written(first: take(first), second: take(second)) }

    struct Written: ~Copyable {
        let first: DirtyBitmap
        let second: DirtyBitmap
    }

    private func take(_ tracker: DiskTracker?) -> DirtyBitmap {
        var bits = DirtyBitmap(size: size, granularity: granularity)
        guard let tracker else { return bits }
        var taken = DirtyBitmap(size: tracker.size, granularity: granularity)
        guard tracker.take(into: &taken) else { return bits }
        taken.forEachDirtyRun { run in
            if run.lowerBound < size { bits.set(run.lowerBound..<min(run.upperBound, size)) }
        }
        return bits
    }

    /// Whether there was a moment since the last drain at which nothing was in flight on both, and
    /// nothing had been written since.
    func comesToRest() -> Bool {
        if areAtRest { return true }
        for tracker in [first, second] {
            // What was lost is marked again, and is drained next.
            if case .busy? = tracker?.waitUntilIdle(limit: Self.patience) { return false }
        }
        return areAtRest
    }

    /// In this order: what the second look finds clean was so between both.
    private var areAtRest: Bool {
        let trackers = [first, second].compactMap(\.self)
        return trackers.allSatisfy { $0.hasBeenAtRest && $0.inFlightBytes == 0 && $0.isClean }
            && trackers.allSatisfy { $0.isClean }
    }

    /// - Throws: if a write was not seen, or a file was written that the kernel does not tell of.
    func requireNothingLost() throws(MirrorError) {
        for tracker in [first, second] {
            guard let tracker else { continue }
            let losses = try tracking { () throws(TrackingError) in try tracker.losses() }
            if let loss = losses.first { throw .live(.lost(loss)) }
        }
        if let (path, how) = watch?.firstWritten() {
            throw .writtenMeanwhile(path: path, how: how)
        }
    }
}
