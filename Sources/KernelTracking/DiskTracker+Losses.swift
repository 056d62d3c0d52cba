internal import BlockStorage
internal import CBPF

extension DiskTracker {
    /// What keeps the tracker from vouching for all that it has not marked; empty: nothing. It is
    /// sure when the disk is at rest; before, a write in flight may hide that one was not seen.
    public func losses() throws(TrackingError) -> [TrackingLoss] {
        // The kernel's count first: what completes in between, the programs have seen rather.
        let counted = disk.folder.sectorsWritten
        let (sum, info) = (state.sum(), state.info)
        var losses: [TrackingLoss] = []
        if sum.too_long > 0 { losses.append(.longRange(count: Int64(clamping: sum.too_long))) }
        if sum.table_full > 0 { losses.append(.tableFull(count: Int64(clamping: sum.table_full))) }
        if sum.passthrough > 0 {
            losses.append(.passthrough(count: Int64(clamping: sum.passthrough)))
        }
        if sum.unknown > 0 { losses.append(.unannounced(count: Int64(clamping: sum.unknown))) }
        let misses = try files.misses()
        if misses > 0 { losses.append(.missed(count: misses)) }
        if !disk.folder.countsTraffic { losses.append(.countersOff) }
        if let change { losses.append(change) }
        if !isAttached { losses.append(.detached) }
        guard let counted else {
            losses.append(.countersOff)
            return losses
        }
        let unseen = unseenBytes(counted, sum, info)
        if unseen > 0 { losses.append(.uncounted(bytes: unseen)) }
        return losses
    }

    /// What the kernel has counted and the programs have neither seen complete, nor can be waiting
    /// for, nor has been made good.
    private func unseenBytes(
        _ counted: UInt64, _ sum: ringmirror_tracker_counts, _ info: ringmirror_tracker_info
    ) -> Int64 {
        let kernel = Int64(bitPattern: (counted &- info.kernel_sectors_at_start) &* 512)
        let seen = Int64(bitPattern: sum.completed &- info.completed_at_start)
        return kernel - seen - info.inFlightBytes(sum) - Int64(clamping: info.forgiven)
    }

    /// Whether the disk behind the number is another one, or has another size.
    private var change: TrackingLoss? {
        guard let now = TrackedDisk(disk.device), now.disk == disk.disk else { return .replaced }
        let info = state.info
        guard (now.diskSequence ?? 0) == info.disk_sequence else { return .replaced }
        guard now.sectors == disk.sectors, now.diskSectors == info.disk_sectors else {
            return .resized
        }
        return nil
    }

    /// Whether each link lets one of the programs run that were started.
    private var isAttached: Bool {
        let ids = state.info.program_ids
        return zip(TrackerFiles.Part.links, [ids.0, ids.1, ids.2]).allSatisfy { part, id in
            TrackerCalls.program(ofLink: files[part]) == id
        }
    }
}
