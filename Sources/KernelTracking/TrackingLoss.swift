/// Why a tracker can't vouch any more for what it has not marked: everything may have been written.
public enum TrackingLoss: Sendable, Hashable {
    /// Ranges were longer than the kernel's program may follow.
    case longRange(count: Int64)
    /// More writes were in flight than can be kept track of.
    case tableFull(count: Int64)
    /// Programs sent commands to the disk itself that no event describes.
    case passthrough(count: Int64)
    /// Writes completed on a disk without requests that had not been seen before.
    case unannounced(count: Int64)
    /// The kernel's own counters have more written than the tracker saw.
    case uncounted(bytes: Int64)
    /// The kernel's own counters are switched off, or were for a time: nothing confirms what was
    /// seen.
    case countersOff
    /// The disk, or the tracked partition of it, has another size or place.
    case resized
    /// Another table was loaded for a device-mapper disk: what it shows is somewhere else now.
    case remapped
    /// Another disk has got the device number.
    case replaced
    /// The tracker was stopped, or what keeps it attached was removed.
    case detached
}

extension TrackingLoss: CustomStringConvertible {
    /// What happened, as a clause.
    public var description: String {
        switch self {
        case .longRange(let count): "\(count) ranges were too long to be marked"
        case .tableFull(let count): "the table of writes in flight was full \(count) times"
        case .passthrough(let count): "\(count) commands were sent to the disk past the block layer"
        case .unannounced(let count): "\(count) writes completed whose submission was not seen"
        case .uncounted(let bytes): "the kernel wrote \(bytes) bytes that were not seen"
        case .countersOff: "the disk's iostats are, or were, switched off"
        case .resized: "the disk or partition was resized or moved"
        case .remapped: "another table was loaded for the disk (device-mapper)"
        case .replaced: "the disk was replaced by another"
        case .detached: "the tracker was stopped"
        }
    }
}
