public import BlockStorage
public import DirtyBitmap
public import SystemPackage

/// Why a disk can't be tracked, or a tracker can't be used.
public enum TrackingError: Error, Sendable, Hashable {
    // This machine.
    /// This build has no libbpf in it.
    case notBuiltIn
    /// Before Linux 5.12, or a release that can't be read.
    case kernelTooOld(release: String)
    /// Disks have no sequence number before Linux 5.15: another disk with the number of the tracked
    /// one can't be told from it by a later process.
    case noDiskSequence(release: String)
    /// The kernel was built without a description of its types.
    case noTypeInformation
    /// The kernel is locked down so far that no program may read its memory.
    case lockedDown
    /// The process may not load programs, or not look at this.
    case notPermitted(call: String)
    /// There is no bpffs at /sys/fs/bpf, and none could be mounted.
    case noPinFilesystem(code: Errno)
    /// The kernel refused the programs.
    case notLoaded(code: Errno, log: String)

    // The disk.
    case notADisk(path: FilePath)
    case noMedium(path: FilePath)
    /// Writes to it can't be seen, or not all of them.
    case unsupportedDisk(path: FilePath, reason: UntrackableDisk)
    case granularityTooFine(Granularity)
    /// Writes that began before tracking did not end in time.
    case tooBusy(path: FilePath)
    /// A read of ours was not seen.
    case selfTest(path: FilePath, SelfTestFailure)

    // Trackers that outlive their process.
    case invalidName(String)
    case nameTaken(String)
    case noSuchTracker(String)
    case inUse(String)
    /// It was never started to the end, or not all of it is there any more.
    case incomplete(String, lacks: String)
    /// Another version made it.
    case otherVersion(String, found: UInt32)
    /// The device number belongs to another disk, or the disk has another size.
    case otherDisk(String, DeviceNumber)

    case system(call: String, path: String, code: Errno)
}

/// What is it about a disk that keeps writes from being seen.
public enum UntrackableDisk: Sendable, Hashable {
    case zoned
    case directAccess
    case multipathHead
    case countersOff
    /// The disk's driver gives away what it gets as it is.
    case holder(String)
}

/// What a self test did not see.
public enum SelfTestFailure: Sendable, Hashable {
    case submission, completion
    /// The kernel counted bytes written while the programs saw fewer.
    case writes
}

extension TrackingError: DescribedError {
    public var category: ErrorCategory {
        switch self {
        case .notADisk, .noMedium, .invalidName, .nameTaken, .noSuchTracker, .granularityTooFine:
            .usage
        case .unsupportedDisk, .inUse, .otherDisk, .otherVersion, .incomplete, .tooBusy: .refused
        default: .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .notBuiltIn, .kernelTooOld, .noDiskSequence, .noTypeInformation, .lockedDown,
            .noPinFilesystem, .notLoaded:
            .trackingUnavailable
        case .notPermitted: .permissionDenied
        case .notADisk: .notADiskOrFile
        case .noMedium: .noMedium
        case .unsupportedDisk, .tooBusy, .selfTest: .diskNotTrackable
        case .granularityTooFine: .invalidGranularity
        case .invalidName: .invalidName
        case .nameTaken: .nameTaken
        case .noSuchTracker: .noSuchTracker
        case .inUse: .trackerInUse
        case .incomplete, .otherVersion, .otherDisk: .trackerInvalid
        case .system: .systemCall
        }
    }

    public var path: FilePath? {
        switch self {
        case .notADisk(let path), .noMedium(let path), .unsupportedDisk(let path, _),
            .tooBusy(let path), .selfTest(let path, _):
            path
        default: nil
        }
    }

    public var problem: String {
        switch self {
        case .notBuiltIn: "this build can't track disks: it was made without libbpf"
        case .kernelTooOld(let release): "Linux \(release) can't track disks"
        case .noDiskSequence(let release):
            "Linux \(release) can't tell a disk from another that takes its number later"
        case .noTypeInformation: "/sys/kernel/btf/vmlinux: the kernel does not describe its types"
        case .lockedDown: "the kernel is locked down (confidentiality): no program may watch disks"
        case .notPermitted(let call): "\(call): not permitted"
        case .noPinFilesystem(let code): "/sys/fs/bpf: no bpffs, and none can be mounted: \(code)"
        case .notLoaded(let code, let log):
            "the kernel refused the programs that track a disk: \(code)"
                + (log.isEmpty ? "" : "\n\(log)")
        case .notADisk(let path): "\(path) is not a block device"
        case .noMedium(let path): "\(path) has no medium: its size is 0"
        case .unsupportedDisk(let path, let reason): "\(path) can't be tracked: \(reason)"
        case .granularityTooFine(let granularity):
            "a granularity of \(granularity) is too fine for tracking"
        case .tooBusy(let path): "\(path): writes were in flight all the time"
        case .selfTest(let path, .submission):
            "\(path) can't be tracked: a read from it was not seen when it was submitted"
        case .selfTest(let path, .completion):
            "\(path) can't be tracked: a read from it was not seen when it completed"
        case .selfTest(let path, .writes):
            "\(path) can't be tracked: the kernel counted writes that were not seen"
        case .invalidName(let name): "'\(name)' can't be the name of a tracker"
        case .nameTaken(let name): "there is a tracker '\(name)' already"
        case .noSuchTracker(let name): "there is no tracker '\(name)'"
        case .inUse(let name): "another process uses the tracker '\(name)'"
        case .incomplete(let name, let lacks): "the tracker '\(name)' is not whole: \(lacks)"
        case .otherVersion(let name, let found):
            "the tracker '\(name)' was started by another version (its layout is \(found))"
        case .otherDisk(let name, let number):
            "the tracker '\(name)' is of a disk that \(number) is not any more"
        case .system(let call, let path, let code): "\(path): \(call) failed: \(code)"
        }
    }

    public var remedy: Remedy {
        switch self {
        case .notBuiltIn: "Build it with the trait Tracking, and libbpf."
        case .kernelTooOld: "Linux 5.12 or later is needed."
        case .noDiskSequence:
            "Linux 5.15 or later is needed; a live mirror of the disk needs 5.12."
        case .noTypeInformation: "A kernel with CONFIG_DEBUG_INFO_BTF is needed."
        case .lockedDown: "Start the machine without lockdown=confidentiality."
        case .notPermitted: "Run as root, or with CAP_BPF and CAP_PERFMON."
        case .noPinFilesystem: "Mount it: `mount -t bpf bpf /sys/fs/bpf`."
        case .notLoaded(.noMemory, _): "The system is out of memory."
        case .notADisk: "Only disks can be tracked; `losetup` makes one of a file."
        case .noMedium: "Insert one, or set the device up first."
        case .unsupportedDisk(_, let reason): reason.remedy
        case .granularityTooFine: "4 KiB or more will do."
        case .tooBusy: "Stop the writers for a moment, or freeze the filesystem (fsfreeze)."
        case .invalidName: "A name has 1 to 80 characters."
        case .nameTaken: "Choose another name, or stop that one."
        case .inUse: "Let that process end first."
        case .incomplete, .otherVersion, .otherDisk:
            "Stop it and start another; what it has marked can't be used."
        default: .none
        }
    }
}

extension UntrackableDisk: CustomStringConvertible {
    /// The reason, as a clause.
    public var description: String {
        switch self {
        case .zoned: "it is zoned"
        case .directAccess: "programs can write to it as to memory (DAX), which nothing tells of"
        case .multipathHead:
            "it is the head of several NVMe paths, which tell of part of the writes"
        case .countersOff: "its iostats are switched off, so that nothing confirms what is seen"
        case .holder(let name): "\(name) stands on it, whose writes are not seen when submitted"
        }
    }

    var remedy: Remedy {
        switch self {
        case .countersOff: "Write 1 to queue/iostats of the disk in /sys/block."
        case .holder(let name): "Track \(name) instead."
        case .zoned, .directAccess, .multipathHead: .none
        }
    }
}
