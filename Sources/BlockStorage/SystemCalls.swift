internal import CLinux
import Glibc
package import SystemPackage

/// A descriptor that is closed when its last owner goes.
package final class Descriptor: Sendable {
    package let raw: CInt

    package init(_ raw: CInt) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }
}

/// The system calls this module makes, each behind a safe signature; the plain ones serve other
/// modules too.
///
/// Nothing else in the module handles pointers but `SignatureProbe`, `FileSizeSignal` and
/// `ForeignWriters`.
package enum SystemCalls {
    /// How long an opening waits for others to give up their leases on a file.
    private static let leaseMilliseconds: UInt32 = 10_000

    /// Opens a path. Where it must not wait (O_NONBLOCK) and somebody has a lease on the file, the
    /// kernel has asked for it back when this fails: file servers give it up within milliseconds,
    /// and that is waited for.
    package static func open(
        _ path: some SystemPath, _ flags: CInt, mode: UInt32 = 0, in directory: CInt = AT_FDCWD
    ) throws(Errno) -> Descriptor {
        var waited: UInt32 = 0
        while true {
            let raw = unsafe path.withCharacters { pointer in
                unsafe ringmirror_openat(directory, pointer, flags | O_CLOEXEC, mode)
            }
            if raw >= 0 { return Descriptor(raw) }
            let code = errno
            if code == EWOULDBLOCK && waited < leaseMilliseconds {
                sleep(milliseconds: 10)
                waited += 10
            } else if code != EINTR {
                throw Errno(rawValue: code)
            }
        }
    }

    /// Opens what `descriptor` has open once more, with other flags: no path is walked again, so
    /// nobody can slip another object underneath.
    static func reopen(_ descriptor: Descriptor, _ flags: CInt) throws(Errno) -> Descriptor {
        try open("/proc/self/fd/\(descriptor.raw)", flags)
    }

    static func status(of descriptor: Descriptor) throws(Errno) -> FileStatus {
        try status("", in: descriptor.raw, flags: AT_EMPTY_PATH)
    }

    /// The same, as a server of the file knows it now: what was seen earlier is not good enough to
    /// tell whether somebody has written.
    static func freshStatus(of descriptor: Descriptor) throws(Errno) -> FileStatus {
        try status("", in: descriptor.raw, flags: AT_EMPTY_PATH | AT_STATX_FORCE_SYNC)
    }

    /// See `freshStatus(of:)`.
    static func freshStatus(at path: FilePath) throws(Errno) -> FileStatus {
        try status(path, in: AT_FDCWD, flags: AT_STATX_FORCE_SYNC)
    }

    /// Looks without opening, and without asking a server: a dead network mount must not hang us.
    static func status(
        at path: some SystemPath, followLinks: Bool = true
    ) throws(Errno) -> FileStatus {
        let follow = followLinks ? 0 : AT_SYMLINK_NOFOLLOW
        return try status(path, in: AT_FDCWD, flags: follow | AT_STATX_DONT_SYNC)
    }

    /// What stands under this name in an open directory. A link is not followed.
    static func status(of name: FilePath, in directory: Descriptor) throws(Errno) -> FileStatus {
        try status(name, in: directory.raw, flags: AT_SYMLINK_NOFOLLOW)
    }

    private static func status(
        _ path: some SystemPath, in directory: CInt, flags: CInt
    ) throws(Errno) -> FileStatus {
        var found = ringmirror_status()
        let failure = unsafe path.withCharacters { pointer in
            unsafe ringmirror_status(directory, pointer, flags, &found)
        }
        guard failure == 0 else { throw Errno(rawValue: failure) }
        return FileStatus(
            kind: kind(ofMode: found.mode),
            device: DeviceNumber(major: found.device_major, minor: found.device_minor),
            special: DeviceNumber(major: found.special_major, minor: found.special_minor),
            inode: found.inode,
            links: found.links,
            size: found.size,
            modified: found.modified,
            changed: found.changed,
            born: found.born_known == 0 ? nil : found.born,
            direct: found.direct_known == 0
                ? nil
                : DirectAlignment(
                    memory: Int(found.direct_memory), offset: Int(found.direct_offset)))
    }

    private static func kind(ofMode mode: UInt32) -> FileKind {
        switch mode & ringmirror_mode_mask {
        case ringmirror_mode_file: .regular
        case ringmirror_mode_block: .blockDevice
        case ringmirror_mode_directory: .directory
        case ringmirror_mode_character: .characterDevice
        case ringmirror_mode_pipe: .pipe
        case ringmirror_mode_socket: .socket
        default: .other
        }
    }

    /// O_NONBLOCK guards the open against a pipe, but must not stay: io_uring answers EAGAIN
    /// instead of waiting for requests on a descriptor that has it.
    static func clearNonblocking(_ descriptor: Descriptor) throws(Errno) {
        let flags = ringmirror_get_flags(descriptor.raw)
        guard flags >= 0 else { throw Errno(rawValue: errno) }
        try check(ringmirror_set_flags(descriptor.raw, flags & ~O_NONBLOCK))
    }

    static func flags(of descriptor: CInt) -> CInt { ringmirror_get_flags(descriptor) }

    static func seek(_ descriptor: CInt, to offset: Int64, whence: CInt) throws(Errno) -> Int64 {
        let result = lseek(descriptor, Int(offset), whence)
        guard result >= 0 else { throw Errno(rawValue: errno) }
        return Int64(result)
    }

    package static func truncate(_ descriptor: Descriptor, to size: Int64) throws(Errno) {
        try FileSizeSignal.blocked { () throws(Errno) in
            while ftruncate(descriptor.raw, Int(size)) != 0 {
                if errno != EINTR { throw Errno(rawValue: errno) }
            }
        }
    }

    /// A failure is final, whatever its errno: what was lost is told once, and another call may
    /// succeed.
    package static func sync(_ descriptor: Descriptor) throws(Errno) {
        guard fsync(descriptor.raw) == 0 else { throw Errno(rawValue: errno) }
    }

    /// See `sync`.
    package static func syncData(_ descriptor: Descriptor) throws(Errno) {
        guard fdatasync(descriptor.raw) == 0 else { throw Errno(rawValue: errno) }
    }

    /// Brings what the page cache has of a file or disk on its way, and waits for it.
    ///
    /// - Returns: whether it can. What fails is told to the descriptor; `PageCaches` are told as
    ///   well.
    @discardableResult
    static func writeBack(_ descriptor: Descriptor) -> Bool {
        ringmirror_write_back(descriptor.raw) == 0
    }

    /// Forgets what the page cache has of a file or disk, as far as it is on its storage.
    static func dropCache(of descriptor: Descriptor) {
        posix_fadvise(descriptor.raw, 0, 0, POSIX_FADV_DONTNEED)
    }

    /// The generation of the inode, where the filesystem keeps one.
    static func generation(of descriptor: Descriptor) -> UInt32? {
        var generation: UInt32 = 0
        guard unsafe ringmirror_generation(descriptor.raw, &generation) == 0 else { return nil }
        return generation
    }

    /// Reads up to `count` bytes; fewer come only where the file ends.
    package static func read(
        _ descriptor: CInt, at offset: Int64, count: Int
    ) throws(Errno) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let result = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe pread(
                    descriptor, buffer.baseAddress.map { unsafe $0 + done }, count - done,
                    Int(offset) + done)
            }
            if result == 0 { break }
            if result > 0 {
                done += result
            } else if errno != EINTR {
                throw Errno(rawValue: errno)
            }
        }
        bytes.removeLast(count - done)
        return bytes
    }

    /// One read of a descriptor that may be direct: into memory at a multiple of `alignment`.
    package static func readAligned(
        _ descriptor: CInt, at offset: Int64, count: Int, alignment: Int
    ) throws(Errno) -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: count, alignment: alignment)
        defer { unsafe memory.deallocate() }
        var result = -1
        repeat {
            result = unsafe pread(descriptor, memory.baseAddress, count, Int(offset))
        } while result < 0 && errno == EINTR
        guard result >= 0 else { throw Errno(rawValue: errno) }
        return unsafe [UInt8](unsafeUninitializedCapacity: result) { bytes, done in
            unsafe UnsafeMutableRawBufferPointer(bytes).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: memory[..<result]))
            done = result
        }
    }

    package static func write(
        _ descriptor: CInt, _ bytes: [UInt8], at offset: Int64
    ) throws(Errno) {
        try FileSizeSignal.blocked { () throws(Errno) in
            var done = 0
            while done < bytes.count {
                let result = unsafe bytes.withUnsafeBytes { buffer in
                    unsafe pwrite(
                        descriptor, buffer.baseAddress.map { unsafe $0 + done },
                        bytes.count - done, Int(offset) + done)
                }
                if result > 0 {
                    done += result
                } else if result == 0 {
                    // The kernel has no reason to do that, and going on would never end.
                    throw .ioError
                } else if errno != EINTR {
                    throw Errno(rawValue: errno)
                }
            }
        }
    }

    package static func unlink(_ name: FilePath, in directory: Descriptor) throws(Errno) {
        let result = unsafe name.withPlatformString { unsafe unlinkat(directory.raw, $0, 0) }
        if result != 0 { throw Errno(rawValue: errno) }
    }

    /// Opens a file that has no name yet, in this directory. Not every filesystem can.
    package static func openUnnamed(
        mode: UInt32, in directory: Descriptor
    ) throws(Errno) -> Descriptor {
        // Glibc's O_TMPFILE, a macro that Swift doesn't see.
        let unnamed = 0o20_000_000 | O_DIRECTORY
        return try open(".", O_RDWR | unnamed | O_NOCTTY, mode: mode, in: directory.raw)
    }

    /// Gives a file without a name one, which must not be there yet.
    package static func link(
        _ descriptor: Descriptor, as name: FilePath, in directory: Descriptor
    ) throws(Errno) {
        let source = FilePath("/proc/self/fd/\(descriptor.raw)")
        let result = unsafe source.withPlatformString { from in
            unsafe name.withPlatformString { to in
                unsafe linkat(AT_FDCWD, from, directory.raw, to, AT_SYMLINK_FOLLOW)
            }
        }
        if result != 0 { throw Errno(rawValue: errno) }
    }

    static func filesystemMagic(_ descriptor: Descriptor) throws(Errno) -> Int64 {
        var magic: Int64 = 0
        try check(unsafe ringmirror_filesystem_magic(descriptor.raw, &magic))
        return magic
    }

    static func trialRead(_ descriptor: Descriptor, length: Int) -> Bool {
        ringmirror_trial_read(descriptor.raw, length) == 0
    }

    /// Nanoseconds since 1970, by the clock that the times of files come from.
    static var wallTime: Int64 {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// How far apart two times of files are at least, if they differ, in nanoseconds.
    static var clockTick: Int64 {
        var tick = timespec()
        // The longest there is.
        guard unsafe clock_getres(CLOCK_REALTIME_COARSE, &tick) == 0, tick.tv_sec == 0 else {
            return 10_000_000
        }
        return Int64(tick.tv_nsec)
    }

    package static func sleep(milliseconds: UInt32) { _ = usleep(milliseconds * 1000) }

    static func check(_ failure: CInt) throws(Errno) {
        if failure != 0 { throw Errno(rawValue: failure) }
    }
}

// MARK: Block device ioctls

extension SystemCalls {
    static func blockDeviceSize(_ descriptor: CInt) throws(Errno) -> Int64 {
        var bytes: UInt64 = 0
        try check(unsafe ringmirror_blk_size(descriptor, &bytes))
        return Int64(clamping: bytes)
    }

    static func logicalBlockSize(_ descriptor: Descriptor) throws(Errno) -> Int {
        var bytes: CInt = 0
        try check(unsafe ringmirror_blk_logical(descriptor.raw, &bytes))
        return Int(bytes)
    }

    static func physicalBlockSize(_ descriptor: Descriptor) throws(Errno) -> Int {
        var bytes: CUnsignedInt = 0
        try check(unsafe ringmirror_blk_physical(descriptor.raw, &bytes))
        return Int(bytes)
    }

    static func isReadOnly(_ descriptor: Descriptor) throws(Errno) -> Bool {
        var answer: CInt = 0
        try check(unsafe ringmirror_blk_read_only(descriptor.raw, &answer))
        return answer != 0
    }

    /// Nil before Linux 5.15.
    static func diskSequence(_ descriptor: Descriptor) -> UInt64? {
        var sequence: UInt64 = 0
        let failure = unsafe ringmirror_blk_sequence(descriptor.raw, &sequence)
        return failure == 0 && sequence != 0 ? sequence : nil
    }

    /// What lies under a loop device, by number: its backing path may be renamed, deleted, or
    /// belong to another mount namespace.
    static func loopBacking(_ descriptor: Descriptor) -> NodeIdentity? {
        var loop = ringmirror_loop()
        guard unsafe ringmirror_loop_status(descriptor.raw, &loop) == 0 else { return nil }
        if loop.special != 0 { return .block(DeviceNumber(encoded: loop.special)) }
        return .file(device: DeviceNumber(encoded: loop.device), inode: loop.inode)
    }
}
