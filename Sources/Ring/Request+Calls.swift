internal import CLinux
internal import Glibc

/// Requests as plain system calls, for where there is no ring to take them.
extension Request {
    /// Whether one system call does it, so that `carryOut` can.
    var isFileCall: Bool {
        switch operation {
        case .read, .write, .sync, .dataSync, .punchHole, .zeroRange, .writeBack, .dropCache: true
        case .nop, .pollIn, .timeout, .cancel: false
        }
    }

    /// Whether it names a file.
    var isAboutFile: Bool { isFileCall || operation == .pollIn }

    /// Does it now, on this thread. Returns what a ring's completion would have: a count of bytes
    /// or 0, or a negated errno; short transfers and EINTR are the caller's business there as here.
    ///
    /// Precondition: `isFileCall`, and the memory is within `buffers`.
    func carryOut(on descriptor: CInt, _ buffers: BufferSlab) -> Int32 {
        let result: Int
        switch operation {
        case .read:
            result = unsafe pread(
                descriptor, buffers.address(bufferOffset, count: Int(length)), Int(length),
                off_t(offset))
        case .write:
            result = unsafe pwrite(
                descriptor, buffers.address(bufferOffset, count: Int(length)), Int(length),
                off_t(offset))
        case .sync: result = Int(fsync(descriptor))
        case .dataSync: result = Int(fdatasync(descriptor))
        case .punchHole:
            return -ringmirror_fallocate(descriptor, ringmirror_punch_hole, offset, length)
        case .zeroRange:
            return -ringmirror_fallocate(descriptor, ringmirror_zero_range, offset, length)
        case .writeBack: return -ringmirror_write_back_range(descriptor, offset, length)
        case .dropCache:
            // This one returns its error instead of setting errno.
            return -posix_fadvise(
                descriptor, off_t(offset), off_t(length), POSIX_FADV_DONTNEED)
        case .nop, .pollIn, .timeout, .cancel:
            preconditionFailure("not a call on a file")
        }
        // The kernel moves less than 2^31 bytes in one call.
        return result < 0 ? -errno : Int32(result)
    }
}
