/// Sizes and limits of a disk or image, as they were when it was opened.
public struct Geometry: Equatable, Sendable {
    /// In bytes.
    public let size: Int64
    /// The smallest unit of a request. For an image, that of the disk below its filesystem.
    public let logicalBlockSize: Int
    /// The unit that is written without a read before it.
    public let physicalBlockSize: Int
    /// Buffers of direct requests begin at multiples of this address.
    public let memoryAlignment: Int
    /// Direct requests begin and end at multiples of this offset. 1 for buffered access.
    public let offsetAlignment: Int
    /// The size that the device would like best, in bytes; nil where it has no opinion.
    public let optimalTransfer: Int?
    /// The largest request that reaches the device in one piece (`max_sectors_kb`), in bytes.
    public let maxTransfer: Int?
    /// How many requests the device takes at once (`nr_requests`).
    public let queueDepth: Int?
    /// Spinning, as far as the kernel knows.
    public let isRotational: Bool?

    /// The same of a disk of another size that is kept on this one.
    package func withSize(_ size: Int64) -> Geometry {
        Geometry(
            size: size, logicalBlockSize: logicalBlockSize, physicalBlockSize: physicalBlockSize,
            memoryAlignment: memoryAlignment, offsetAlignment: offsetAlignment,
            optimalTransfer: optimalTransfer, maxTransfer: maxTransfer, queueDepth: queueDepth,
            isRotational: isRotational)
    }
}

/// What a device or file can do to make a range read as zeros. A trial decides; this is what is
/// worth a trial.
public struct ZeroingAbility: Equatable, Sendable {
    /// The largest range zeroed by one command without data, in bytes; 0: none. Block devices.
    public let writeZeroesMaxBytes: Int64
    /// The largest discard, in bytes; 0: none. Discarded blocks may read as anything.
    public let discardMaxBytes: Int64
    /// Files: whether the filesystem is known to punch holes that read as zeros; nil where that is
    /// not known. Disks: false if a loop device in them hands the command to a file of which that
    /// is not known.
    public let punchesHoles: Bool?
}

/// What sysfs says about the queue of a disk.
struct QueueLimits {
    var logicalBlockSize: Int?
    var physicalBlockSize: Int?
    var optimalTransfer: Int?
    var maxTransfer: Int?
    var queueDepth: Int?
    var isRotational: Bool?
    var writeZeroesMaxBytes: Int64 = 0
    var discardMaxBytes: Int64 = 0
}

extension SystemView {
    /// Limits of the disk that has this number, or on which a partition of this number lies.
    func queueLimits(of device: DeviceNumber) -> QueueLimits {
        var limits = QueueLimits()
        guard let disk = diskDirectory(of: device) else { return limits }
        let queue = disk + "/queue/"
        let positive = { (name: String) -> Int? in
            number(queue + name).flatMap { $0 > 0 ? Int(clamping: $0) : nil }
        }
        limits.logicalBlockSize = positive("logical_block_size")
        limits.physicalBlockSize = positive("physical_block_size")
        limits.optimalTransfer = positive("optimal_io_size")
        limits.maxTransfer = positive("max_sectors_kb").map { $0 * 1024 }
        limits.queueDepth = positive("nr_requests")
        limits.isRotational = number(queue + "rotational").map { $0 != 0 }
        limits.writeZeroesMaxBytes = number(queue + "write_zeroes_max_bytes") ?? 0
        limits.discardMaxBytes = number(queue + "discard_max_bytes") ?? 0
        return limits
    }

    /// The sysfs directory of the whole disk: partitions have no queue of their own.
    func diskDirectory(of device: DeviceNumber) -> String? {
        let directory = "/sys/dev/block/\(device)"
        guard name(of: device) != nil else { return nil }
        return text(directory + "/partition") == nil ? directory : directory + "/.."
    }
}
