internal import BlockStorage
import Glibc
internal import SystemPackage

/// The file of a store in a real filesystem.
final class DiskFile: StoreFile {
    let path: FilePath
    let isWritable: Bool
    private let descriptor: Descriptor
    /// How often the lock is tried for, with a pause of 10 ms each time.
    private let lockAttempts: Int

    init(
        path: FilePath, descriptor: Descriptor, isWritable: Bool, lockAttempts: Int = 1000
    ) {
        self.lockAttempts = lockAttempts
        self.path = path
        self.descriptor = descriptor
        self.isWritable = isWritable
    }

    /// Opens what must be there, and be an ordinary file: a link could lead a program that runs as
    /// root to a file of somebody else's choice.
    static func open(
        _ path: FilePath, access: Access, lockAttempts: Int = 1000
    ) throws(BitmapStoreError) -> DiskFile {
        let flags = (access == .readOnly ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        let descriptor: Descriptor
        let status: StoreStatus
        do throws(Errno) {
            descriptor = try SystemCalls.open(path, flags)
            status = try StoreCalls.status(of: descriptor)
        } catch {
            switch error {
            // Where a name is too long for the filesystem there is nothing.
            case .noSuchFileOrDirectory, .fileNameTooLong: throw .notFound(path: path)
            case .tooManySymbolicLinkLevels:
                throw .notAStore(path: path, why: "it is a symbolic link, and must be the file")
            case .noSuchAddressOrDevice: throw .notAStore(path: path, why: "it is a socket")
            case .isDirectory: throw .notAStore(path: path, why: "it is a directory")
            default: throw .systemCall(call: "open", path: path, code: error)
            }
        }
        guard status.isRegular else {
            throw .notAStore(path: path, why: "it is not an ordinary file")
        }
        return DiskFile(
            path: path, descriptor: descriptor, isWritable: access == .readWrite,
            lockAttempts: lockAttempts)
    }

    var bootID: String? { SystemView.live.bootID }

    func length() throws(BitmapStoreError) -> Int64 {
        try call("fstat") { () throws(Errno) in try StoreCalls.status(of: descriptor).length }
    }

    func read(at offset: Int64, count: Int) throws(BitmapStoreError) -> [UInt8] {
        let bytes = try call("read", offset) { () throws(Errno) in
            try SystemCalls.read(descriptor.raw, at: offset, count: count)
        }
        guard bytes.count == count else {
            throw .truncated(
                path: path, length: offset + Int64(bytes.count), needed: offset + Int64(count))
        }
        return bytes
    }

    func write(_ bytes: [UInt8], at offset: Int64) throws(BitmapStoreError) {
        try call("write", offset) { () throws(Errno) in
            try SystemCalls.write(descriptor.raw, bytes, at: offset)
        }
    }

    func sync() throws(BitmapStoreError) {
        try call("fdatasync") { () throws(Errno) in try SystemCalls.syncData(descriptor) }
    }

    func truncate(to length: Int64) throws(BitmapStoreError) {
        try call("ftruncate", length) { () throws(Errno) in
            try SystemCalls.truncate(descriptor, to: length)
        }
    }

    // A transaction takes milliseconds; who waits longer than 10 s waits for something stuck.
    private static let lockPauseMilliseconds: UInt32 = 10

    /// Locks a file that this process has just made, and that may have no name yet.
    func lockNew() throws(BitmapStoreError) {
        do throws(Errno) {
            guard try StoreCalls.tryLock(descriptor, .exclusive) else { throw .wouldBlock }
        } catch {
            throw lockFailure("flock", error)
        }
    }

    func lock(_ mode: LockMode) throws(BitmapStoreError) {
        var isLocked: Bool
        let status: StoreStatus
        do throws(Errno) {
            isLocked = try StoreCalls.tryLock(descriptor, mode)
            for _ in 0..<lockAttempts where !isLocked {
                SystemCalls.sleep(milliseconds: Self.lockPauseMilliseconds)
                isLocked = try StoreCalls.tryLock(descriptor, mode)
            }
            status = try StoreCalls.status(of: descriptor)
        } catch {
            throw lockFailure("flock", error)
        }
        guard isLocked else {
            let holder = LockHolders.ofFlock(device: status.device, inode: status.inode)
            throw .locked(path: path, holder: holder)
        }
        guard status.links > 0 else {
            unlock()
            throw .vanished(path: path)
        }
    }

    func unlock() { StoreCalls.unlock(descriptor) }

    /// Bytes that no file has: the locks of jobs are beyond whatever the store may grow to.
    private static func byte(ofJob id: UInt64) -> Int64 { 1 << 62 + Int64(id) }

    func claim(job id: UInt64) throws(BitmapStoreError) -> (any JobClaim)? {
        // Opened once more, because a claim belongs to an open file: it must live and die apart
        // from this one. By number, so that nobody can slip another file underneath.
        let own = FilePath("/proc/self/fd/\(descriptor.raw)")
        let claim = try call("opening once more") { () throws(Errno) in
            try SystemCalls.open(own, O_RDWR)
        }
        do throws(Errno) {
            let isTaken = try StoreCalls.tryLockByte(claim, at: Self.byte(ofJob: id))
            return isTaken ? FileClaim(descriptor: claim) : nil
        } catch {
            throw lockFailure("fcntl(F_OFD_SETLK)", error)
        }
    }

    func isClaimed(job id: UInt64) throws(BitmapStoreError) -> Bool {
        do throws(Errno) {
            return try StoreCalls.isByteLocked(descriptor, at: Self.byte(ofJob: id))
        } catch {
            throw lockFailure("fcntl(F_OFD_GETLK)", error)
        }
    }

    func remove() throws(BitmapStoreError) {
        let (directory, name) = try StoreDirectory.open(of: path)
        try call("unlink") { () throws(Errno) in
            // Only if the name still leads to this file.
            let named = try StoreCalls.status(of: name, in: directory)
            let own = try StoreCalls.status(of: descriptor)
            guard named.inode == own.inode, named.device == own.device else { return }
            try SystemCalls.unlink(name, in: directory)
            try SystemCalls.sync(directory)
        }
    }

    private func lockFailure(_ call: String, _ code: Errno) -> BitmapStoreError {
        switch code {
        case .notSupported, .noLocks, .noFunction, .invalidArgument:
            .noLocks(path: path, code: code)
        default: .systemCall(call: call, path: path, code: code)
        }
    }

    private func call<Result>(
        _ name: String, _ offset: Int64? = nil, _ body: () throws(Errno) -> Result
    ) throws(BitmapStoreError) -> Result {
        do throws(Errno) {
            return try body()
        } catch {
            throw .systemCall(call: name, path: path, code: error, offset: offset)
        }
    }
}

private final class FileClaim: JobClaim {
    private let descriptor: Descriptor

    init(descriptor: Descriptor) { self.descriptor = descriptor }
}

/// The directory that a store's file is in.
enum StoreDirectory {
    static func open(
        of path: FilePath
    ) throws(BitmapStoreError) -> (directory: Descriptor, name: FilePath) {
        guard let component = path.lastComponent, component.kind == .regular else {
            throw .notAStore(path: path, why: "it is not the name of a file")
        }
        let parent = path.removingLastComponent()
        let directory = parent.isEmpty ? FilePath(".") : parent
        do throws(Errno) {
            let descriptor = try SystemCalls.open(directory, O_RDONLY | O_DIRECTORY)
            return (descriptor, FilePath(root: nil, [component]))
        } catch {
            throw .systemCall(call: "open", path: directory, code: error)
        }
    }
}
