public import BlockStorage
public import DirtyBitmap
public import SystemPackage

/// Why a store could not do what was asked. The store is then as it was before.
public enum BitmapStoreError: Error, Equatable, Sendable {
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
    /// A process died while it was recording in memory: nobody knows what is dirty.
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

    /// What the failure means to a caller; the CLI makes exit codes of it.
    public var category: StorageError.Category {
        switch self {
        case .noSuchBitmap, .nameTaken, .invalidName, .sizesDiffer, .rangeOutside, .bits, .notFound,
            .alreadyExists, .noSuchJob, .tooManyBitmaps, .readOnly, .pathNotText:
            .usage
        case .busy, .targetBusy, .inconsistent, .disabled, .wrongDevice, .wrongSize, .notAStore,
            .unsupportedVersion, .damaged, .truncated, .locked, .noLocks, .jobRunning,
            .unknownTarget,
            .bitmapRemade:
            .refused
        case .systemCall(_, _, .permissionDenied, _), .systemCall(_, _, .notPermitted, _),
            .systemCall(_, _, .readOnlyFileSystem, _),
            .systemCall(_, _, .noSuchFileOrDirectory, _), .systemCall(_, _, .notDirectory, _):
            .usage
        case .vanished, .unwritable, .systemCall: .failed
        }
    }
}

extension BitmapStoreError: CustomStringConvertible {
    /// What happened, to which file, and what to do about it.
    public var description: String {
        switch self {
        case .noSuchBitmap, .nameTaken, .invalidName, .busy, .targetBusy, .inconsistent, .disabled,
            .noSuchJob, .jobRunning, .tooManyBitmaps, .unknownTarget, .bitmapRemade:
            bitmapText
        case .sizesDiffer(let size, let other):
            "the bitmaps describe disks of different sizes, \(size) and \(other) bytes: only "
                + "bitmaps of the same size can be combined"
        case .rangeOutside(let range, let size):
            "bytes \(range.lowerBound) to \(range.upperBound) are not within the disk's \(size) "
                + "bytes: cut the range"
        case .bits(let error): error.description
        case .pathNotText(let path):
            "the name of \(path) is not valid UTF-8, and can't be recorded: rename it."
        default: fileText
        }
    }

    private var bitmapText: String {
        switch self {
        case .noSuchBitmap(let name, let existing, let path):
            "\(path) has no bitmap '\(name)'. "
                + (existing.isEmpty
                    ? "It has none at all; add one with `ringmirror bitmap add`."
                    : "It has: \(existing.joined(separator: ", ")).")
        case .nameTaken(let name, let path):
            "\(path) has a bitmap '\(name)' already. Choose another name, or remove that one."
        case .invalidName(let name, let why):
            "'\(name)' can't be the name of a bitmap: \(why). Give the bitmap another one."
        case .busy(let name, let holder):
            "bitmap '\(name)' is in use by \(holder). Wait for it to end, or stop it."
        case .targetBusy(let target, let holder):
            "\(target) is being written by \(holder). Wait for it to end, or stop it."
        case .inconsistent(let name, let path):
            "bitmap '\(name)' in \(path) is inconsistent: its recorder died, and what was written "
                + "meanwhile is not known. Remove it, add it again, and mirror everything once."
        case .disabled(let name):
            "bitmap '\(name)' is disabled and records nothing. Enable it first."
        case .noSuchJob(let id, let path):
            "\(path) has no job \(id). It has ended, or was forgotten."
        case .jobRunning(let id, let holder):
            "job \(id) runs in \(holder). Wait for it to end, or stop it."
        case .unknownTarget(let name, let target, let known):
            "bitmap '\(name)' does not know \(target), which may lack more than is marked. "
                + "It knows: \(known.joined(separator: ", ")). "
                + "Mirror everything to the new one once."
        case .bitmapRemade(let name):
            "bitmap '\(name)' in the image was cleared or made anew by something else since its "
                + "last job, so that it does not tell any more what was written. Mirror everything "
                + "once."
        case .tooManyBitmaps(let path, let limit):
            "\(path) is full: it has room for \(limit). Remove bitmaps, or forget targets or jobs "
                + "that are no longer needed."
        default: ""
        }
    }

    private var fileText: String {
        switch self {
        case .wrongDevice(let path, let difference):
            "\(path) belongs to another disk or image: \(difference). Nothing was changed. If the "
                + "storage really is another one, move the file away and start with a full mirror."
        case .wrongSize(let path, let stored, let actual):
            "\(path) is for \(stored) bytes of storage, which now has \(actual) bytes. Nothing was "
                + "changed. Move the file away and start with a full mirror."
        case .notFound(let path):
            "\(path): there is no bitmap store. `ringmirror bitmap add` makes one."
        case .alreadyExists(let path):
            "\(path) exists already. Open it instead, or choose another name."
        case .notAStore(let path, let why):
            "\(path) is not a bitmap store: \(why). Nothing was changed. Move it away, or remove "
                + "it if nobody needs it: that is where bitmaps are kept."
        case .unsupportedVersion(let path, let what):
            "\(path) can't be read by this version of ringmirror: \(what). Nothing was changed. "
                + "Use the version that wrote it."
        case .damaged(let path, let offset, let why):
            "\(path) is damaged at offset \(offset): \(why). Nothing was changed. Restore it from "
                + "a backup, or remove it and start with a full mirror."
        case .unwritable(let path, let why):
            "\(path) was to be written so that it could not be read again: \(why). Nothing was "
                + "changed. That is a fault of ringmirror: please report it."
        case .truncated(let path, let length, let needed):
            "\(path) is truncated: it has \(length) bytes and needs \(needed). Nothing was "
                + "changed. Restore it from a backup, or remove it and start with a full mirror."
        case .locked(let path, let holder):
            "\(path) is locked by \(holder.map(\.description) ?? "another process") for longer "
                + "than 10 s. Wait for it, or stop it."
        case .noLocks(let path, let code):
            "\(path): this filesystem can't lock files (\(code)), so that two processes could "
                + "spoil the store. Keep it on a local filesystem."
        case .readOnly(let path):
            "\(path) was opened for reading only. Open it for writing to change it."
        case .vanished(let path):
            "\(path) was removed or replaced by another process. Run the command again."
        case .systemCall(let call, let path, let code, let offset):
            "\(path): \(call)\(offset.map { " at offset \($0)" } ?? "") failed: "
                + "\(code).\(Self.remedy(for: code))"
        default: ""
        }
    }

    private static func remedy(for code: Errno) -> String {
        switch code {
        case .noSpace, .diskQuotaExceeded:
            " Nothing is lost. Free some space, and run the command again."
        case .readOnlyFileSystem:
            " Make the filesystem writable, or keep the store elsewhere (--bitmaps FILE)."
        case .permissionDenied: " Run as the user who owns it, or as root."
        case .notPermitted:
            " Run as the user who owns it, or as root; `lsattr` tells whether it is immutable."
        case .ioError: " Its disk has errors; `dmesg` says more."
        case .tooManySymbolicLinkLevels: " It must not be a symbolic link: name the file itself."
        case .fileTooLarge:
            " The filesystem or a limit (ulimit -f) does not allow so large a file."
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
            " Too many files are open: raise the limit (ulimit -n)."
        case .noSuchFileOrDirectory: " Make the directory first."
        case .notDirectory: " A file stands where its name has a directory: choose another name."
        default: ""
        }
    }
}
