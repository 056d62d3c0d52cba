internal import CLinux

/// RLIMIT_MEMLOCK, which registered buffers are counted against.
enum MemoryLock {
    /// Raises the soft limit so that `bytes` more can be locked, as far as this process may.
    /// Whether that was enough shows when the buffers are registered; nothing is an error here.
    static func raise(toFit bytes: Int) {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        guard unsafe ringmirror_get_memory_lock(&soft, &hard) == 0 else { return }
        // Other rings of this process may hold locked memory too; what they have isn't visible, so
        // ask for this much on top of the present limit.
        let wanted = soft.addingReportingOverflow(UInt64(bytes))
        let target = wanted.overflow ? .max : wanted.partialValue
        // Only CAP_SYS_RESOURCE may raise the hard limit.
        if target > hard && ringmirror_set_memory_lock(target, target) == 0 { return }
        _ = ringmirror_set_memory_lock(min(target, hard), hard)
    }
}
