public import BlockStorage
public import DirtyBitmap
public import SystemPackage

/// Why a store could not do what was asked. The store is then as it was before.
public enum BitmapStoreError: Equatable, Sendable {
    /// No bitmap has this name; `existing` are the names that there are.
    case noSuchBitmap(name: String, existing: [String], path: FilePath)
    /// A bitmap has this name already.
    case nameTaken(name: String, path: FilePath)
    /// The name can't be one.
    case invalidName(name: String, why: String)
    /// A job or recorder works with the bitmap.
    case busy(name: String, holder: JobHolder)
    /// Another job writes to the same target.
    case targetBusy(target: FilePath, holder: JobHolder)
    /// The kernel tracks the disk for the bitmap.
    case tracked(name: String)
    /// Something that was recording has ended without telling what it knew.
    case inconsistent(name: String, path: FilePath)
    /// The bitmap isn't recording, and was to be marked.
    case disabled(name: String)
    /// A bitmap from outside describes a disk of another size.
    case sizesDiffer(size: Int64, other: Int64)
    /// A range isn't within the disk.
    case rangeOutside(Range<Int64>, size: Int64)
    /// A size or granularity that no bitmap can have.
    case bits(DirtyBitmapError)
    /// The store belongs to another disk or image.
    case wrongDevice(path: FilePath, difference: String)
    /// The disk or image was resized since the store was made.
    case wrongSize(path: FilePath, stored: Int64, actual: Int64)
    /// There is no store.
    case notFound(path: FilePath)
    /// There is something where a store was to be made.
    case alreadyExists(path: FilePath)
    /// What is there isn't a store, or isn't even a file.
    case notAStore(path: FilePath, why: String)
    /// Written by a later version, or on a machine of another kind.
    case unsupportedVersion(path: FilePath, what: String)
    /// The content contradicts its checksums or itself.
    case damaged(path: FilePath, offset: Int64, why: String)
    /// What was to be written could not be read again. Nothing of it was.
    case unwritable(path: FilePath, why: String)
    /// The file is shorter than its content says.
    case truncated(path: FilePath, length: Int64, needed: Int64)
    /// Somebody has kept the store locked for longer than a transaction takes.
    case locked(path: FilePath, holder: ProcessName?)
    /// The filesystem can't lock, and without locks two processes would undo each other's work.
    case noLocks(path: FilePath, code: Errno)
    /// The store was opened for reading only.
    case readOnly(path: FilePath)
    /// Another process removed or replaced the file after it was opened.
    case vanished(path: FilePath)
    /// The job ended, or was forgotten.
    case noSuchJob(id: UInt64, path: FilePath)
    /// The job can't be resumed or forgotten: it runs.
    case jobRunning(id: UInt64, holder: JobHolder)
    /// There is room for `limit` bitmaps, targets or jobs, or this many bytes.
    case tooManyBitmaps(path: FilePath, limit: Int)
    /// The bitmap does not know the target, and knows others: its marks need not be all that this
    /// one lacks.
    case unknownTarget(name: String, target: FilePath, known: [String])
    /// The bitmap in the image has lost marks that it had: something else has cleared it or made it
    /// anew.
    case bitmapRemade(name: String)
    /// A path that is no text can't be recorded.
    case pathNotText(FilePath)
    /// The system failed us.
    case systemCall(call: String, path: FilePath, code: Errno, offset: Int64? = nil)
}

extension BitmapStoreError: DescribedError {
    public var category: ErrorCategory {
        switch self {
        case .noSuchBitmap, .nameTaken, .invalidName, .sizesDiffer, .rangeOutside, .bits, .notFound,
            .alreadyExists, .noSuchJob, .tooManyBitmaps, .readOnly, .pathNotText:
            .usage
        case .busy, .targetBusy, .tracked, .inconsistent, .disabled, .wrongDevice, .wrongSize,
            .notAStore,
            .unsupportedVersion, .damaged, .truncated, .locked, .noLocks, .jobRunning,
            .unknownTarget, .bitmapRemade:
            .refused
        case .systemCall(_, _, .permissionDenied, _), .systemCall(_, _, .notPermitted, _),
            .systemCall(_, _, .readOnlyFileSystem, _),
            .systemCall(_, _, .noSuchFileOrDirectory, _), .systemCall(_, _, .notDirectory, _):
            .usage
        case .vanished, .unwritable, .systemCall: .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .noSuchBitmap: .noSuchBitmap
        case .nameTaken: .nameTaken
        case .invalidName: .invalidName
        case .busy: .bitmapBusy
        case .targetBusy: .targetBusy
        case .tracked: .bitmapTracked
        case .inconsistent: .bitmapInconsistent
        case .disabled: .bitmapDisabled
        case .sizesDiffer: .sizesDiffer
        case .rangeOutside: .rangeOutside
        case .bits: .invalidGranularity
        case .wrongDevice: .wrongDevice
        case .wrongSize: .wrongSize
        case .notFound: .noStore
        case .alreadyExists: .storeExists
        case .notAStore: .notAStore
        case .unsupportedVersion: .storeVersion
        case .damaged: .storeDamaged
        case .unwritable: .storeUnwritable
        case .truncated: .storeTruncated
        case .locked: .storeLocked
        case .noLocks: .storeNoLocks
        case .readOnly: .storeReadOnly
        case .vanished: .storeVanished
        case .noSuchJob: .noSuchJob
        case .jobRunning: .jobRunning
        case .tooManyBitmaps: .tooManyBitmaps
        case .unknownTarget: .otherTarget
        case .bitmapRemade: .bitmapRemade
        case .pathNotText: .unsupportedName
        case .systemCall: .systemCall
        }
    }

    public var path: FilePath? {
        switch self {
        case .noSuchBitmap(_, _, let path), .nameTaken(_, let path), .inconsistent(_, let path),
            .wrongDevice(let path, _), .wrongSize(let path, _, _), .notFound(let path),
            .alreadyExists(let path), .notAStore(let path, _), .unsupportedVersion(let path, _),
            .damaged(let path, _, _), .unwritable(let path, _), .truncated(let path, _, _),
            .locked(let path, _), .noLocks(let path, _), .readOnly(let path), .vanished(let path),
            .noSuchJob(_, let path), .tooManyBitmaps(let path, _), .pathNotText(let path),
            .systemCall(_, let path, _, _):
            path
        case .targetBusy(let target, _), .unknownTarget(_, let target, _): target
        case .invalidName, .busy, .tracked, .disabled, .sizesDiffer, .rangeOutside, .bits,
            .jobRunning,
            .bitmapRemade:
            nil
        }
    }

    public var offset: Int64? {
        switch self {
        case .damaged(_, let offset, _): offset
        case .systemCall(_, _, _, let offset): offset
        default: nil
        }
    }

    public var problem: String {
        switch self {
        case .noSuchBitmap, .nameTaken, .invalidName, .busy, .targetBusy, .tracked, .inconsistent,
            .disabled,
            .noSuchJob, .jobRunning, .tooManyBitmaps, .unknownTarget, .bitmapRemade:
            bitmapProblem
        case .sizesDiffer(let size, let other):
            "the bitmaps describe disks of different sizes, \(size) and \(other) bytes"
        case .rangeOutside(let range, let size):
            "bytes \(range.lowerBound) to \(range.upperBound) are not within the disk's \(size) "
                + "bytes"
        case .bits(let error): error.description
        case .pathNotText(let path):
            "the name of \(path) is not valid UTF-8, and can't be recorded"
        default: fileProblem
        }
    }

    private var bitmapProblem: String {
        switch self {
        case .noSuchBitmap(let name, _, let path): "\(path) has no bitmap '\(name)'"
        case .nameTaken(let name, let path): "\(path) has a bitmap '\(name)' already"
        case .invalidName(let name, let why): "'\(name)' can't be the name of a bitmap: \(why)"
        case .busy(let name, let holder): "bitmap '\(name)' is in use by \(holder)"
        case .targetBusy(let target, let holder): "\(target) is being written by \(holder)"
        case .inconsistent(let name, let path):
            "bitmap '\(name)' in \(path) is inconsistent: what recorded for it has ended without "
                + "telling what was written"
        case .tracked(let name): "bitmap '\(name)' is tracked by the kernel"
        case .disabled(let name): "bitmap '\(name)' is disabled and records nothing"
        case .noSuchJob(let id, let path): "\(path) has no job \(id)"
        case .jobRunning(let id, let holder): "job \(id) runs in \(holder)"
        case .unknownTarget(let name, let target, _):
            "bitmap '\(name)' does not know \(target), which may lack more than is marked"
        case .bitmapRemade(let name):
            "bitmap '\(name)' in the image was cleared or made anew by something else since its "
                + "last job, so that it does not tell any more what was written"
        case .tooManyBitmaps(let path, let limit): "\(path) is full: it has room for \(limit)"
        default: ""
        }
    }

    private var fileProblem: String {
        switch self {
        case .wrongDevice(let path, let difference):
            "\(path) belongs to another disk or image: \(difference). Nothing was changed"
        case .wrongSize(let path, let stored, let actual):
            "\(path) is for \(stored) bytes of storage, which now has \(actual) bytes. Nothing was "
                + "changed"
        case .notFound(let path): "\(path): there is no bitmap store"
        case .alreadyExists(let path): "\(path) exists already"
        case .notAStore(let path, let why):
            "\(path) is not a bitmap store: \(why). Nothing was changed"
        case .unsupportedVersion(let path, let what):
            "\(path) can't be read by this version of ringmirror: \(what). Nothing was changed"
        case .damaged(let path, let offset, let why):
            "\(path) is damaged at offset \(offset): \(why). Nothing was changed"
        case .unwritable(let path, let why):
            "\(path) was to be written so that it could not be read again: \(why). Nothing was "
                + "changed"
        case .truncated(let path, let length, let needed):
            "\(path) is truncated: it has \(length) bytes and needs \(needed). Nothing was changed"
        case .locked(let path, let holder):
            "\(path) is locked by \(holder.map(\.description) ?? "another process") for longer "
                + "than 10 s"
        case .noLocks(let path, let code):
            "\(path): this filesystem can't lock files (\(code)), so that two processes could "
                + "spoil the store"
        case .readOnly(let path): "\(path) was opened for reading only"
        case .vanished(let path): "\(path) was removed or replaced by another process"
        case .systemCall(let call, let path, let code, let offset):
            "\(path): \(call)\(offset.map { " at offset \($0)" } ?? "") failed: \(code)"
        default: ""
        }
    }

    public var remedy: Remedy {
        switch self {
        case .noSuchBitmap(_, let existing, _):
            existing.isEmpty
                ? "It has none at all; \(.addBitmap)."
                : "It has: \(existing.joined(separator: ", "))."
        case .nameTaken: "Choose another name, or remove that one."
        case .invalidName: "Give the bitmap another one."
        case .busy, .targetBusy, .jobRunning: "Wait for it to end, or stop it."
        case .inconsistent: "\(.mirrorDifferences), which makes it right again."
        case .tracked: "\(.stopTracking)."
        case .disabled: "Enable it first."
        case .sizesDiffer: "Only bitmaps of the same size can be combined."
        case .rangeOutside: "Cut the range."
        case .bits: .none
        case .wrongDevice:
            "If the storage really is another one, move the file away and start with a full mirror."
        case .wrongSize: "Move the file away and start with a full mirror."
        case .notFound: "\(.addBitmap), which makes one."
        case .alreadyExists: "Open it instead, or choose another name."
        case .notAStore:
            "Move it away, or remove it if nobody needs it: that is where bitmaps are kept."
        case .unsupportedVersion: "Use the version that wrote it."
        case .damaged, .truncated:
            "Restore it from a backup, or remove it and start with a full mirror."
        case .unwritable: "That is a fault of ringmirror: please report it."
        case .locked: "Wait for it, or stop it."
        case .noLocks: "Keep it on a local filesystem."
        case .readOnly: "Open it for writing to change it."
        case .vanished: "Run the command again."
        case .noSuchJob: "It has ended, or was forgotten."
        case .tooManyBitmaps:
            "Remove bitmaps, or forget targets or jobs that are no longer needed."
        case .unknownTarget(_, _, let known) where known.isEmpty:
            "It knows of none. Mirror everything to it once."
        case .unknownTarget(_, _, let known):
            "It knows: \(known.joined(separator: ", ")). Mirror everything to the new one once."
        case .bitmapRemade: "Mirror everything once."
        case .pathNotText: "Rename it."
        case .systemCall(_, _, let code, _): Self.remedy(for: code)
        }
    }

    private static func remedy(for code: Errno) -> Remedy {
        switch code {
        case .noSpace, .diskQuotaExceeded:
            "Nothing is lost. Free some space, and run the command again."
        case .readOnlyFileSystem: "Make the filesystem writable, or \(.moveStore)."
        case .permissionDenied: "Run as the user who owns it, or as root."
        case .notPermitted:
            "Run as the user who owns it, or as root; `lsattr` tells whether it is immutable."
        case .ioError: "Its disk has errors; `dmesg` says more."
        case .tooManySymbolicLinkLevels: "It must not be a symbolic link: name the file itself."
        case .fileTooLarge:
            "The filesystem or a limit (ulimit -f) does not allow so large a file."
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
            "Too many files are open: raise the limit (ulimit -n)."
        case .noSuchFileOrDirectory: "Make the directory first."
        case .fileNameTooLong: "\(.moveStore): the store's name is longer than the disk's."
        case .notDirectory: "A file stands where its name has a directory: choose another name."
        default: .none
        }
    }
}
