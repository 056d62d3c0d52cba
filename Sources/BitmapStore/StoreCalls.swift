internal import BlockStorage
internal import CLinux
import Glibc
internal import SystemPackage

/// What the kernel says about the file of a store.
struct StoreStatus: Equatable, Sendable {
    let isRegular: Bool
    let device: DeviceNumber
    let inode: UInt64
    let length: Int64
    /// Names that the file has: 0 if it was removed.
    let links: Int
}

/// The system calls that this module makes besides those of `SystemCalls`, each behind a safe
/// signature. Nothing else in the module handles pointers.
enum StoreCalls {
    static func status(of descriptor: Descriptor) throws(Errno) -> StoreStatus {
        var found = stat()
        guard unsafe fstat(descriptor.raw, &found) == 0 else { throw Errno(rawValue: errno) }
        return StoreStatus(found)
    }

    /// Of a name in a directory itself, also if it is a symbolic link.
    static func status(
        of name: FilePath, in directory: Descriptor
    ) throws(Errno) -> StoreStatus {
        var found = stat()
        let result = unsafe name.withPlatformString {
            unsafe fstatat(directory.raw, $0, &found, AT_SYMLINK_NOFOLLOW)
        }
        guard result == 0 else { throw Errno(rawValue: errno) }
        return StoreStatus(found)
    }

    /// True if the lock was taken, false if somebody else has it.
    static func tryLock(_ descriptor: Descriptor, _ mode: LockMode) throws(Errno) -> Bool {
        try SystemCalls.tryLock(descriptor, mode == .shared ? LOCK_SH : LOCK_EX)
    }

    static func unlock(_ descriptor: Descriptor) { _ = flock(descriptor.raw, LOCK_UN) }

    /// True if the byte was locked for this open file, false if another has it.
    static func tryLockByte(
        _ descriptor: Descriptor, at offset: Int64
    ) throws(Errno) -> Bool {
        let failure = ringmirror_record_lock(descriptor.raw, offset, 1)
        if failure == EAGAIN || failure == EACCES { return false }
        if failure != 0 { throw Errno(rawValue: failure) }
        return true
    }

    static func isByteLocked(
        _ descriptor: Descriptor, at offset: Int64
    ) throws(Errno) -> Bool {
        var found: CInt = 0
        let failure = unsafe ringmirror_record_lock_query(descriptor.raw, offset, &found)
        if failure != 0 { throw Errno(rawValue: failure) }
        return found != 0
    }

    /// Renames within a directory, and never over something.
    static func renameNew(
        _ from: FilePath, to name: FilePath, in directory: Descriptor
    ) throws(Errno) {
        let failure = unsafe from.withPlatformString { from in
            unsafe name.withPlatformString { unsafe ringmirror_rename_new(directory.raw, from, $0) }
        }
        if failure != 0 { throw Errno(rawValue: failure) }
    }

    static func makeDirectory(_ path: FilePath, mode: mode_t) throws(Errno) {
        let result = unsafe path.withPlatformString { unsafe mkdir($0, mode) }
        if result != 0 { throw Errno(rawValue: errno) }
    }

    /// Links resolved; nil if there is nothing.
    static func resolve(_ path: FilePath) -> FilePath? {
        unsafe path.withPlatformString { pointer -> FilePath? in
            guard let found = unsafe realpath(pointer, nil) else { return nil }
            defer { unsafe free(found) }
            return unsafe FilePath(platformString: found)
        }
    }

    /// Seconds since 1970.
    static func now() -> Int64 { Int64(time(nil)) }

    /// With the bytes that it has, which need not be text.
    static func environment(_ name: String) -> FilePath? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe FilePath(platformString: value)
    }
}

extension StoreStatus {
    fileprivate init(_ found: stat) {
        isRegular = found.st_mode & S_IFMT == S_IFREG
        device = DeviceNumber(encoded: UInt64(found.st_dev))
        inode = UInt64(found.st_ino)
        length = Int64(found.st_size)
        links = Int(found.st_nlink)
    }
}
