import Glibc
public import SystemPackage

/// Why a disk or image could not be opened or asked.
public enum StorageError: Error, Equatable, Sendable {
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
    case refused(GuardRefusal)
    /// The file is there, and what is in it can't be used.
    case image(ImageProblem)

    /// What the failure means to a caller; the CLI makes exit codes of it.
    public enum Category: Sendable, Equatable {
        /// The path cannot be used as asked.
        case usage
        /// A guard held it back. Nothing was written.
        case refused
        /// The system failed us.
        case failed
    }

    public var category: Category {
        switch self {
        case .notFound, .isDirectory, .notADiskOrFile, .noMedium, .permissionDenied,
            .directIORefused, .nameNotUTF8:
            .usage
        case .refused: .refused
        case .image(let problem): problem.category
        case .changedWhileOpening, .systemCall: .failed
        }
    }
}

extension StorageError: CustomStringConvertible {
    /// What happened, to which file, and what to do about it.
    public var description: String {
        switch self {
        case .notFound(let path):
            "\(path): no such file or device. Check the name; `lsblk` lists the disks."
        case .isDirectory(let path):
            "\(path) is a directory. Name a disk, or an image file inside it."
        case .notADiskOrFile(let path, let kind):
            "\(path) is a \(kind). Only block devices and regular files can be mirrored."
        case .noMedium(let path):
            "\(path) has no medium: its size is 0. Insert one, or set the device up first."
        case .permissionDenied(let path, .readOnly):
            "\(path): no permission to read. Run as root, or as a user who may read it."
        case .permissionDenied(let path, .readWrite):
            "\(path): no permission to read and write. Run as root, or as a user who may."
        case .directIORefused(let path, let reason):
            "\(path): direct I/O is not possible here: \(reason). "
                + "Use --cache buffered or --cache auto."
        case .changedWhileOpening(let path):
            "\(path) was replaced by something else while it was being opened. "
                + "Find out what replaces it, then run again."
        case .nameNotUTF8(let name):
            "\(name): the name is not UTF-8, so that records and messages could not tell it from "
                + "others. Rename it (a link to it does not help)."
        case .systemCall("open", let path, .resourceTemporarilyUnavailable, _):
            "\(path): another program has a lease on it and did not give it up within 10 s. File "
                + "servers (Samba, NFS) take leases; /proc/locks has its process and the inode. "
                + "Close the file there, then run again."
        case .systemCall(let call, let path, let code, let offset):
            "\(path): \(call)\(offset.map { " at offset \($0)" } ?? "") failed: "
                + "\(code).\(Self.remedy(for: code))"
        case .refused(let refusal):
            refusal.description
        case .image(let problem):
            problem.description
        }
    }

    private static func remedy(for code: Errno) -> String {
        switch code {
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem:
            " Too many files are open: raise the limit (ulimit -n)."
        case .noSpace: " Free some space, or choose another place."
        case .fileTooLarge:
            " The filesystem or a limit (ulimit -f) does not allow so large a file."
        case .ioError: " The device has errors; `dmesg` says more."
        case .noSuchAddressOrDevice, Errno(rawValue: ENODEV):
            " The device is gone, or has no medium."
        case .noMemory: " The system is out of memory."
        default: ""
        }
    }
}
