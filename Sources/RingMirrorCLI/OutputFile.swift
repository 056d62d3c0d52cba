import Glibc
import RingMirror
import SystemPackage

/// Why a result can't be written to a file. But for `notFlushed`, the file is as it was.
enum OutputFileError: Error {
    /// A file is there, and may not be replaced.
    case exists
    /// The file is one that the command reads, or another one that is never a result.
    case isNeeded(String)
    /// The file has its new content, but a power cut could still bring the old one back.
    case notFlushed(FilePath, Errno)
    case systemCall(Errno)
}

/// A file for a result, such as an exported bitmap.
///
/// A result replaces a file as a whole or not at all: it is written beside it and renamed. It never
/// replaces what the command has read it from, a disk, or the bitmaps of any disk, whatever the
/// file is called.
struct OutputFile {
    let path: PathArgument
    private let inputs: [StorageDevice]
    private let bitmaps: FilePath
    private let targets: [FilePath]

    /// - Parameters:
    ///   - path: `-` is standard output, whose errors `Output` keeps.
    ///   - inputs: the files that the result comes from.
    ///   - bitmaps: the file that has the bitmaps.
    ///   - targets: what has been mirrored to.
    init(
        path: PathArgument, apartFrom inputs: [StorageDevice], _ bitmaps: FilePath,
        _ targets: [FilePath]
    ) {
        self.path = path
        self.inputs = inputs
        self.bitmaps = bitmaps
        self.targets = targets
    }

    /// Writes all of `bytes`.
    func write(_ bytes: [UInt8], overwrite: Bool) throws(OutputFileError) {
        guard !path.isStandardStream else { return Output.bytes(bytes) }
        guard let status = Self.status(of: path.path) else {
            return try replace(path.path, with: bytes, mode: nil)
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG:
            try requireUnneeded(status)
            guard overwrite else { throw .exists }
            try replace(try Self.resolve(path.path), with: bytes, mode: status.st_mode & 0o7777)
        case S_IFBLK:
            throw .isNeeded("it is a disk")
        default:
            // A pipe, a terminal, /dev/null: there is nothing to replace.
            do {
                let file = try FileDescriptor.open(path.path, .writeOnly)
                try file.closeAfter { _ = try file.writeAll(bytes) }
            } catch {
                throw .systemCall(error as? Errno ?? .ioError)
            }
        }
    }

    private func requireUnneeded(_ status: stat) throws(OutputFileError) {
        if let input = inputs.first(where: { $0.isSame(as: path.path) }) {
            throw .isNeeded("it is \(input.path), which has the bitmap or is read with it")
        }
        if let store = Self.status(of: bitmaps), store.st_dev == status.st_dev,
            store.st_ino == status.st_ino
        {
            throw .isNeeded("it is the file that keeps the bitmaps")
        }
        if StorePlace.isStore(at: path.path) {
            throw .isNeeded("it keeps the bitmaps of another disk")
        }
        if targets.contains(where: { Files.lead($0, path.path) }) {
            throw .isNeeded("it is a target that mirrors were made to")
        }
        try requireText()
    }

    /// All that is exported is text, and a disk is not: so nothing that holds one is replaced.
    private func requireText() throws(OutputFileError) {
        let beginning: [UInt8]
        do {
            let file = try FileDescriptor.open(path.path, .readOnly)
            var bytes = [UInt8](repeating: 0, count: Self.lookLength)
            let count = try file.closeAfter {
                try unsafe bytes.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
            }
            beginning = Array(bytes[..<count])
        } catch {
            throw .systemCall(error as? Errno ?? .ioError)
        }
        // What was read may end in the middle of a character.
        let isText = (0..<(beginning.count < Self.lookLength ? 1 : 4)).contains { cut in
            String(validating: beginning.dropLast(cut), as: UTF8.self) != nil
        }
        let isDescriptor = beginning.starts(with: Array("# Disk DescriptorFile".utf8))
        let hasControls = beginning.contains { byte in
            byte < 0x20 && !(0x09...0x0d).contains(byte) || byte == 0x7f
        }
        guard isText && !isDescriptor && !hasControls else {
            throw .isNeeded("it holds something else than a change map or another text")
        }
    }

    /// Disks have zeros, or something else that no text has, well before.
    private static let lookLength = 65536

    /// Writes a file under another name in the same directory, and gives it its name when it is
    /// whole and on stable storage.
    private func replace(
        _ path: FilePath, with bytes: [UInt8], mode: mode_t?
    ) throws(OutputFileError) {
        let beside = path.removingLastComponent().appending(
            ".ringmirror-\(UInt64.random(in: 0 ... .max)).new")
        do {
            let file = try FileDescriptor.open(
                beside, .writeOnly, options: [.create, .exclusiveCreate],
                permissions: [.ownerReadWrite, .groupRead, .otherRead])
            do {
                try file.closeAfter {
                    _ = try file.writeAll(bytes)
                    if let mode, fchmod(file.rawValue, mode) != 0 { throw Errno(rawValue: errno) }
                    if fsync(file.rawValue) != 0 { throw Errno(rawValue: errno) }
                }
                try Self.rename(beside, to: path, replacing: mode != nil)
            } catch {
                Files.remove(beside)
                throw error
            }
        } catch let error as OutputFileError {
            throw error
        } catch {
            throw .systemCall(error as? Errno ?? .ioError)
        }
        try Self.flush(path.removingLastComponent())
    }

    private static func rename(
        _ old: FilePath, to new: FilePath, replacing: Bool
    ) throws(OutputFileError) {
        let code = unsafe old.withPlatformString { old in
            unsafe new.withPlatformString { new -> CInt in
                if replacing { return unsafe Glibc.rename(old, new) == 0 ? 0 : errno }
                // What came there meanwhile is nothing that anybody agreed to lose.
                if unsafe renameat2(AT_FDCWD, old, AT_FDCWD, new, noReplace) == 0 { return 0 }
                guard errno == EINVAL || errno == ENOSYS else { return errno }
                // File systems without the flag have links, which replace nothing either.
                guard unsafe link(old, new) == 0 else { return errno }
                _ = unsafe unlink(old)
                return 0
            }
        }
        guard code == 0 else {
            if code == EEXIST { throw .exists }
            throw .systemCall(Errno(rawValue: code))
        }
    }

    /// RENAME_NOREPLACE, which the kernel fixes and older headers lack.
    private static let noReplace: UInt32 = 1

    /// Brings the name of a file to stable storage.
    private static func flush(_ directory: FilePath) throws(OutputFileError) {
        let directory = directory.isEmpty ? FilePath(".") : directory
        do {
            let folder = try FileDescriptor.open(
                directory, .readOnly, options: [.directory, .closeOnExec])
            try folder.closeAfter {
                // Some file systems have nothing to flush there.
                guard fsync(folder.rawValue) != 0, errno != EINVAL else { return }
                throw Errno(rawValue: errno)
            }
        } catch {
            throw .notFlushed(directory, error as? Errno ?? .ioError)
        }
    }

    private static func status(of path: FilePath) -> stat? {
        var status = stat()
        let result = unsafe path.withPlatformString { unsafe stat($0, &status) }
        return result == 0 ? status : nil
    }

    /// A link stays a link: the file that it leads to is replaced.
    private static func resolve(_ path: FilePath) throws(OutputFileError) -> FilePath {
        let resolved = unsafe path.withPlatformString { name -> FilePath? in
            guard let real = unsafe realpath(name, nil) else { return nil }
            defer { unsafe free(real) }
            return unsafe FilePath(platformString: real)
        }
        guard let resolved else { throw .systemCall(Errno(rawValue: errno)) }
        return resolved
    }
}

extension Failure {
    /// A result that could not be written to `file`.
    init(_ error: OutputFileError, _ file: PathArgument) {
        switch error {
        case .exists:
            self.init(
                .outputExists, "\(file) exists already",
                remedy: "Choose another name, or pass --overwrite.", path: file.path, .refused)
        case .isNeeded(let why):
            self.init(
                .outputExists, "\(file) is not replaced: \(why)", remedy: "Choose another name.",
                path: file.path, .refused)
        case .notFlushed(let folder, let code):
            self.init(
                .outputUnwritable,
                "\(file) was written, but its directory \(folder) could not be flushed: \(code)",
                remedy: "A power cut could still undo it.", path: file.path, .failed)
        case .systemCall(let code):
            let isUsage = [
                Errno.noSuchFileOrDirectory, .notDirectory, .isDirectory, .permissionDenied,
            ].contains(code)
            self.init(
                .outputUnwritable, "can't write \(file): \(code)",
                remedy: isUsage ? "Choose another place." : nil, path: file.path,
                isUsage ? .usage : .failed)
        }
    }
}
