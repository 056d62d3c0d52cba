public import BlockStorage
public import Freezing
public import KernelTracking
public import SystemPackage

/// Why a disk that is in use can't be mirrored, or was not.
public enum LiveError: DescribedError, Sendable {
    /// The source is no block device.
    case notADisk(FilePath)
    /// The disk is written while it has to stand still.
    case inUse(FilePath)
    /// The kernel does not tell which run of the machine it is.
    case noBootID
    /// A bitmap for which the disk is not tracked can't tell what is written after a live mirror.
    case notTracked(bitmap: String, disk: FilePath)
    /// The disk is tracked for bitmaps of another store, and has one tracker only.
    case trackedElsewhere(FilePath)
    /// The tracker of a disk has lost something, or is gone, for this reason.
    case trackingLost(FilePath, String)
    /// The kernel can't tell what is written.
    case tracking(TrackingError)
    /// Filesystems can't be held still.
    case freezing(FreezeError)
    /// What was to stop the writers did not, for this reason.
    case notStopped(String)
    /// The writers were let go before the rest was copied and proven, so many times.
    case notHeld(attempts: Int)
    /// The writers went on before both sides were compared; nil: how long all of it takes is not
    /// known. The mirror was proven before.
    case comparisonCutShort(seconds: Int64?)
    /// So many bytes are never compared within the longest pause: it takes so long at least.
    case pauseTooShort(bytes: Int64, milliseconds: Int64)
    /// Not all writes were seen.
    case lost(TrackingLoss)

    private var passedOn: (any DescribedError)? {
        switch self {
        case .tracking(let error): error
        case .freezing(let error): error
        case .notADisk, .inUse, .noBootID, .notTracked, .trackedElsewhere, .trackingLost,
            .notStopped, .notHeld, .comparisonCutShort, .pauseTooShort, .lost:
            nil
        }
    }

    /// Whether the writers may be held back if that is tried again.
    var mayPass: Bool {
        switch self {
        case .freezing(let error): error.mayPass
        default: false
        }
    }

    public var category: ErrorCategory {
        switch self {
        case .tracking, .freezing: passedOn?.category ?? .failed
        case .notADisk, .noBootID, .pauseTooShort: .usage
        case .inUse, .notTracked, .trackedElsewhere, .trackingLost: .refused
        case .notStopped, .notHeld, .comparisonCutShort, .lost: .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .tracking(let error): error.code
        case .freezing(let error): error.code
        case .notADisk: .notADiskOrFile
        case .inUse: .sourceInUse
        case .noBootID: .unverifiable
        case .notTracked: .notTracked
        case .trackedElsewhere: .trackerInUse
        case .trackingLost: .bitmapInconsistent
        case .notStopped, .notHeld: .writersNotHeld
        case .comparisonCutShort: .verificationIncomplete
        case .pauseTooShort: .invalidOption
        case .lost: .writesUnseen
        }
    }

    public var path: FilePath? {
        switch self {
        case .notADisk(let path), .inUse(let path), .notTracked(_, let path),
            .trackedElsewhere(let path), .trackingLost(let path, _):
            path
        default: passedOn?.path
        }
    }

    public var offset: Int64? { passedOn?.offset }

    public var problem: String {
        switch self {
        case .tracking, .freezing: passedOn?.problem ?? ""
        case .notADisk(let path):
            "\(path) is no block device: only of those the kernel tells what is written"
        case .inUse(let path): "\(path) is being written"
        case .noBootID: "/proc/sys/kernel/random/boot_id can't be read"
        case .notTracked(let bitmap, let disk):
            "\(disk) is not tracked for bitmap '\(bitmap)', so that what is written after the "
                + "mirror would be marked nowhere"
        case .trackedElsewhere(let disk):
            "\(disk) is tracked already, for bitmaps of another store"
        case .trackingLost(let disk, let reason):
            "the tracking of \(disk) has come to an end, and the bitmaps that it marked are "
                + "inconsistent: \(reason)"
        case .notStopped(let why): "those who write the source were not stopped: \(why)"
        case .notHeld(let attempts):
            "those who write the source were let go before all was copied"
                + (attempts > 1 ? ", \(attempts) times" : "")
        case .comparisonCutShort(let seconds):
            "the writers went on before both sides were compared"
                + (seconds.map { ", which takes about \($0) s" } ?? "")
        case .pauseTooShort(let bytes, let time):
            "comparing \(bytes) bytes would hold the writers back for longer than they may be: for "
                + (time < 10_000 ? "\(time) ms" : "\(time / 1000) s") + " on the fastest of disks"
        case .lost(let loss): "not all writes to the source were seen: \(loss)"
        }
    }

    public var remedy: Remedy {
        switch self {
        case .tracking, .freezing: passedOn?.remedy ?? .none
        case .notADisk: "Attach the file with losetup, and let its users use the loop device."
        case .inUse: "Stop what writes it, or \(.mirrorLive)."
        case .noBootID: "Mount proc."
        case .notTracked: "\(.startTracking)."
        case .trackingLost: "\(.mirrorDifferences), which makes a bitmap right again."
        case .trackedElsewhere: "Name that store, or \(.stopTracking)."
        case .notStopped: .none
        case .notHeld: "Allow a longer pause, or try again when less is written."
        case .comparisonCutShort(let seconds):
            seconds.map { "Allow a pause of \($0 + $0 / 4 + 1) s, or leave the comparison out." }
                ?? "Allow a longer pause, or leave the comparison out."
        case .pauseTooShort:
            "Allow a pause of the bytes divided by what the slower side reads in a second, or "
                + "leave the comparison out."
        case .lost: "Run the command again."
        }
    }
}
