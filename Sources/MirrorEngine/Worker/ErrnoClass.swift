internal import Glibc

/// What errnos mean for a copy. Measured on real devices: docs/kernel.md.
enum ErrnoClass {
    /// Nothing happened; the same request may go through. Nobody here cancels reads and writes: the
    /// kernel does where a storm of signals keeps it from starting a worker.
    static func isTransient(_ code: CInt) -> Bool {
        code == EINTR || code == EAGAIN || code == ENOBUFS || code == ECANCELED
    }

    /// The trouble may be with a part of the range only, so that smaller requests save the rest.
    /// A medium error is ENODATA on SCSI and NVMe, EIO elsewhere; EILSEQ is a failed protection
    /// check.
    static func isLocal(_ code: CInt) -> Bool {
        code == EIO || code == ENODATA || code == EILSEQ || code == EREMOTEIO
            || code == EBADMSG || code == EUCLEAN
    }

    /// The target has no room. A disk that vanished says the same.
    static func isOutOfSpace(_ code: CInt) -> Bool {
        code == ENOSPC || code == EDQUOT || code == EFBIG
    }

    /// The kernel, the file system or the device can't do this kind of request at all. EBUSY is
    /// what a kernel says that doesn't let this descriptor zero a claimed disk.
    static func isUnsupported(_ code: CInt) -> Bool {
        code == EOPNOTSUPP || code == EINVAL || code == ENOSYS || code == ENOTTY || code == ENODEV
            || code == EBUSY
    }
}
