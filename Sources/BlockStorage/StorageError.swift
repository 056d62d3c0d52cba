import Glibc
public import SystemPackage

/// Why a disk or image could not be opened or asked.
public enum StorageError: Equatable, Sendable {
    case notFound(path: FilePath)
    case isDirectory(path: FilePath)
    /// A pipe, socket, character device or anything else that is neither disk nor file.
    case notADiskOrFile(path: FilePath, kind: String)
    case permissionDenied(path: FilePath, access: Access)
    /// A block device of no size: an empty drive, an unbound loop device, an idle zram.
    case noMedium(path: FilePath)
    /// Direct access was asked for by name, and this file cannot give it.
    case directIORefused(path: FilePath, reason: String)
    /// The name led to one object when it was checked and to another when it was opened.
    case changedWhileOpening(path: FilePath)
    /// The name, or the one that a link leads to, is not UTF-8: messages and records could not
    /// tell it from others. `name` has the bytes that are not as `\\xNN`.
    case nameNotUTF8(name: String)
    case systemCall(call: String, path: FilePath, code: Errno, offset: Int64? = nil)
    /// Another process has written the target of a job; `writer` says which, as a phrase.
    case writtenByOther(path: FilePath, writer: String)
    case refused(GuardRefusal)
    /// The file is there, and what is in it can't be used.
    case image(ImageProblem)
}

extension StorageError: DescribedError {
    public var category: ErrorCategory {
        switch self {
        case .notFound, .isDirectory, .notADiskOrFile, .noMedium, .permissionDenied,
            .directIORefused, .nameNotUTF8:
            .usage
        case .refused(let refusal): refusal.category
        case .image(let problem): problem.category
        case .changedWhileOpening, .writtenByOther, .systemCall: .failed
        }
    }

    public var code: ErrorCode {
        switch self {
        case .notFound: .notFound
        case .isDirectory: .isDirectory
        case .notADiskOrFile: .notADiskOrFile
        case .permissionDenied: .permissionDenied
        case .noMedium: .noMedium
        case .directIORefused: .directIORefused
        case .changedWhileOpening: .changedWhileOpening
        case .nameNotUTF8: .nameNotUTF8
        case .systemCall: .systemCall
        case .writtenByOther: .writtenMeanwhile
        case .refused(let refusal): refusal.code
        case .image(let problem): problem.code
        }
    }

    public var path: FilePath? {
        switch self {
        case .notFound(let path), .isDirectory(let path), .notADiskOrFile(let path, _),
            .permissionDenied(let path, _), .noMedium(let path), .directIORefused(let path, _),
            .changedWhileOpening(let path), .systemCall(_, let path, _, _),
            .writtenByOther(let path, _):
            path
        case .nameNotUTF8: nil
        case .refused(let refusal): refusal.path
        case .image(let problem): problem.path
        }
    }

    public var offset: Int64? {
        switch self {
        case .systemCall(_, _, _, let offset): offset
        case .refused(let refusal): refusal.offset
        case .image(let problem): problem.offset
        case .notFound, .isDirectory, .notADiskOrFile, .permissionDenied, .noMedium,
            .directIORefused, .changedWhileOpening, .nameNotUTF8, .writtenByOther:
            nil
        }
    }

    public var problem: String {
        switch self {
        case .notFound(let path): "\(path): no such file or device"
        case .isDirectory(let path): "\(path) is a directory"
        case .notADiskOrFile(let path, let kind): "\(path) is a \(kind)"
        case .noMedium(let path): "\(path) has no medium: its size is 0"
        case .permissionDenied(let path, .readOnly): "\(path): no permission to read"
        case .permissionDenied(let path, .readWrite): "\(path): no permission to read and write"
        case .directIORefused(let path, let reason):
            "\(path): direct I/O is not possible here: \(reason)"
        case .changedWhileOpening(let path):
            "\(path) was replaced by something else while it was being opened"
        case .nameNotUTF8(let name):
            "\(name): the name is not UTF-8, so that records and messages could not tell it from "
                + "others"
        case .systemCall("open", let path, .resourceTemporarilyUnavailable, _):
            "\(path): another program has a lease on it and did not give it up within 10 s"
        case .systemCall(let call, let path, let code, let offset):
            "\(path): \(call)\(offset.map { " at offset \($0)" } ?? "") failed: \(code)"
        case .writtenByOther(let path, let writer):
            "\(path) was written by something else while the job ran: \(writer)"
        case .refused(let refusal): refusal.problem
        case .image(let problem): problem.problem
        }
    }

    public var remedy: Remedy {
        switch self {
        case .notFound: "Check the name; `lsblk` lists the disks."
        case .isDirectory: "Name a disk, or an image file inside it."
        case .notADiskOrFile: "Only block devices and regular files can be mirrored."
        case .noMedium: "Insert one, or set the device up first."
        case .permissionDenied(_, .readOnly): "Run as root, or as a user who may read it."
        case .permissionDenied(_, .readWrite): "Run as root, or as a user who may."
        case .directIORefused: "\(.buffer)."
        case .changedWhileOpening: "Find out what replaces it, then run again."
        case .nameNotUTF8: "Rename it (a link to it does not help)."
        case .systemCall("open", _, .resourceTemporarilyUnavailable, _):
            "File servers (Samba, NFS) take leases; /proc/locks has its process and the inode. "
                + "Close the file there, then run again."
        case .writtenByOther: "Stop what writes it, if it still runs; then run the command again."
        case .systemCall(_, _, let code, _): Self.remedy(for: code)
        case .refused(let refusal): refusal.remedy
        case .image(let problem): problem.remedy
        }
    }

    private static func remedy(for code: Errno) -> Remedy {
        switch code {
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
            "Too many files are open: raise the limit (ulimit -n)."
        case .noSpace: "Free some space, or choose another place."
        case .fileTooLarge:
            "The filesystem or a limit (ulimit -f) does not allow so large a file."
        case .ioError: "The device has errors; `dmesg` says more."
        case .noSuchAddressOrDevice, Errno(rawValue: ENODEV):
            "The device is gone, or has no medium."
        case .noMemory: "The system is out of memory."
        default: .none
        }
    }
}
