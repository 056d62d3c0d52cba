internal import BlockStorage
internal import CBPF

extension DiskTracker {
    /// What keeps the tracker from vouching for all that it has not marked; empty: nothing. It is
    /// sure when the disk is at rest; before, a write in flight may hide that one was not seen.
    public func losses() throws(TrackingError) -> [TrackingLoss] {
        let books = Books(disk, state)
        let (sum, info) = (books.after, state.info)
        var losses: [TrackingLoss] = []
        if sum.too_long > 0 { losses.append(.longRange(count: Int64(clamping: sum.too_long))) }
        if sum.table_full > 0 { losses.append(.tableFull(count: Int64(clamping: sum.table_full))) }
        if sum.passthrough > 0 {
            losses.append(.passthrough(count: Int64(clamping: sum.passthrough)))
        }
        let unknown = sum.unknown &- info.unknown_at_start
        if unknown > 0 { losses.append(.unannounced(count: Int64(clamping: unknown))) }
        if let change { losses.append(change) }
        if !isAttached { losses.append(.detached) }
        let isSwitchedOff = info.has_switch != 0 && !disk.folder.hasSwitchedOn
        guard !isSwitchedOff, let unseen = books.unseenBytes(info) else {
            losses.append(.countersOff)
            return losses
        }
        if unseen > 0 { losses.append(.uncounted(bytes: unseen)) }
        // A disk with requests counts each byte of them, so that it can't have fewer.
        if !disk.isBioBased, books.isExact, info.is_count_exact != 0, books.uncountedBytes(info) > 0
        {
            losses.append(.countersOff)
        }
        return losses
    }

    /// Whether the disk behind the number is another one, or has another size or table.
    private var change: TrackingLoss? {
        guard let now = TrackedDisk(disk.device), now.disk == disk.disk else { return .replaced }
        let info = state.info
        guard (now.diskSequence ?? 0) == info.disk_sequence else { return .replaced }
        guard now.sectors == disk.sectors, now.diskSectors == info.disk_sectors else {
            return .resized
        }
        return now.tableHash == info.table_hash ? nil : .remapped
    }

    /// Whether each link lets one of the programs run that were started.
    private var isAttached: Bool {
        zip(TrackerFiles.Part.links, state.info.programIDs).allSatisfy { part, id in
            TrackerCalls.program(ofLink: files[part]) == id
        }
    }
}
