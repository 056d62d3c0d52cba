public import BlockStorage
public import SystemPackage

/// Why filesystems can't be held still.
public enum FreezeError: Error, Sendable, Hashable {
    case notABlockDevice(FilePath)
    /// What has the disk mounted can't be looked at.
    case unseen(FilePath, missing: String)
    /// This program writes to a file there while it is frozen, and would wait for itself.
    case oursWouldHang(path: FilePath, filesystem: MountedFilesystem)
    /// Something writes the disk that freezing does not hold back.
    case unheldWriters(FilePath, [UnheldWriter])
    case notPermitted(MountedFilesystem)
    case unsupported(MountedFilesystem)
    /// Something else has frozen it, and it is left so.
    case alreadyFrozen(MountedFilesystem)
    /// It was unmounted meanwhile, or another one is mounted over it.
    case gone(MountedFilesystem)
    /// It did not become still within the limit.
    case hung(MountedFilesystem)
    case failed(MountedFilesystem, code: Errno)
    /// They were frozen, and can't be thawed.
    case stillFrozen([MountedFilesystem])
    /// The processes that freeze and thaw could not be started, or were killed.
    case helpers(code: Errno)
}

/// What writes to a disk past the filesystems that can be frozen.
public enum UnheldWriter: Sendable, Hashable, CustomStringConvertible {
    /// Swap space.
    case swap(String)
    case unfreezable(MountedFilesystem)
    /// A process that has the disk, or what stands on it, open for writing.
    case process(String)
    /// A volume above the disk from which nothing is seen to be mounted.
    case unmountedHolder(String, on: String)
    /// A filesystem that is mounted where it can't be seen.
    case unseenMount(device: String, type: String)
    /// The disk is exported.
    case export(String, by: String)

    public var description: String {
        switch self {
        case .swap(let path): "\(path) is swap space"
        case .unfreezable(let filesystem): "\(filesystem) can't be frozen"
        case .process(let name): "\(name) has it open for writing"
        case .unmountedHolder(let device, let below):
            "\(device) stands on \(below), and nothing is seen to be mounted from it"
        case .unseenMount(let device, let type):
            "\(device) is mounted (\(type)) where it can't be seen, or was unmounted while files "
                + "of it are open"
        case .export(let device, let by): "\(device) is exported by \(by)"
        }
    }
}

extension FreezeError {
    /// Whether another try may succeed soon: it took too long, was given up, or is about something
    /// that has changed since.
    package var mayPass: Bool {
        switch self {
        case .hung, .gone, .helpers: true
        case .notABlockDevice, .unseen, .oursWouldHang, .unheldWriters, .notPermitted,
            .unsupported, .alreadyFrozen, .failed, .stillFrozen:
            false
        }
    }
}

extension FreezeError: DescribedError {
    public var category: ErrorCategory {
        switch self {
        case .notABlockDevice: .usage
        case .unseen, .oursWouldHang, .unheldWriters, .unsupported, .alreadyFrozen: .refused
        case .notPermitted, .gone, .hung, .failed, .stillFrozen, .helpers: .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .notABlockDevice: .notADiskOrFile
        case .unseen: .unverifiable
        case .notPermitted: .permissionDenied
        case .oursWouldHang, .unheldWriters, .unsupported, .alreadyFrozen, .gone, .hung, .failed,
            .helpers:
            .writersNotHeld
        case .stillFrozen: .stillFrozen
        }
    }

    public var path: FilePath? {
        switch self {
        case .notABlockDevice(let path), .unseen(let path, _), .oursWouldHang(let path, _),
            .unheldWriters(let path, _):
            path
        case .notPermitted(let one), .unsupported(let one), .alreadyFrozen(let one),
            .gone(let one), .hung(let one), .failed(let one, _):
            one.points.first.map { FilePath($0) }
        case .stillFrozen(let all): all.first?.points.first.map { FilePath($0) }
        case .helpers: nil
        }
    }

    public var problem: String {
        switch self {
        case .notABlockDevice(let path): "\(path) is no block device"
        case .unseen(let path, let missing):
            "who writes \(path) can't be seen: \(missing) can't be read"
        case .oursWouldHang(let path, let filesystem):
            "\(path) is on \(filesystem), and would be written while that is frozen"
        case .unheldWriters(let path, let writers):
            "freezing does not hold back all that writes \(path): "
                + writers.map(\.description).joined(separator: "; ")
        case .notPermitted(let filesystem): "\(filesystem) can't be frozen: not permitted"
        case .unsupported(let filesystem): "\(filesystem) can't be frozen: it knows no such state"
        case .alreadyFrozen(let filesystem): "something else has frozen \(filesystem)"
        case .gone(let filesystem): "\(filesystem) is not there any more"
        case .hung(let filesystem): "\(filesystem) did not become still in time"
        case .failed(let filesystem, let code): "\(filesystem) can't be frozen: \(code)"
        case .stillFrozen(let all):
            all.map(\.description).joined(separator: ", ")
                + " can't be thawed: all that is written there waits"
        case .helpers(let code): "the processes that freeze and thaw failed: \(code)"
        }
    }

    private static func remedy(for writers: [UnheldWriter]) -> Remedy {
        var ways: [String] = []
        for writer in writers {
            let way =
                switch writer {
                case .swap: "switch swap space off (`swapoff`)"
                case .unfreezable:
                    "unmount what can't be frozen, or mount it read-only (`mount -o remount,ro`)"
                case .process, .export: "stop the programs that write"
                case .unmountedHolder: "deactivate volumes that are not used"
                case .unseenMount: "end the programs that have it mounted or open"
                }
            if !ways.contains(way) { ways.append(way) }
        }
        let all = ways.joined(separator: "; ")
        return Remedy(
            all.prefix(1).uppercased() + all.dropFirst()
                + ". Or hold the writers back in another way.")
    }

    public var remedy: Remedy {
        switch self {
        case .notABlockDevice: .none
        case .unseen: "Mount proc and sysfs."
        case .oursWouldHang: "Put it on another filesystem."
        case .unheldWriters(_, let writers): Self.remedy(for: writers)
        case .notPermitted: "Run as root, or with CAP_SYS_ADMIN."
        case .unsupported: "Unmount it, or hold its writers back in another way."
        case .alreadyFrozen: "Thaw it (`fsfreeze -u`), or wait until that is done."
        case .gone: "Run the command again."
        case .hung:
            "All is thawed again, or will be when its disk answers. Allow a longer pause, or look "
                + "for errors of its disk in dmesg."
        case .stillFrozen(let all):
            Remedy(
                "Thaw what is frozen: "
                    + all.compactMap(\.points.first).map { "`fsfreeze -u \($0)`" }
                    .joined(separator: ", ") + ". If that fails, look for errors of its disk in "
                    + "dmesg.")
        case .failed, .helpers: .none
        }
    }
}
