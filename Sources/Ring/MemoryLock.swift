internal import CLiburing
internal import Glibc

/// RLIMIT_MEMLOCK, which registered buffers are counted against.
enum MemoryLock {
    /// Raises the soft limit so that `bytes` more can be locked, as far as this process may.
    /// Whether that was enough shows when the buffers are registered; nothing is an error here.
    static func raise(toFit bytes: Int) {
        var limit = rlimit()
        guard unsafe ringmirror_get_memlock(&limit) == 0 else { return }
        // Other rings of this process may hold locked memory too; what they have isn't visible, so
        // ask for this much on top of the present limit.
        let wanted = limit.rlim_cur.addingReportingOverflow(UInt(bytes))
        let target = wanted.overflow ? rlim_t.max : wanted.partialValue
        if target > limit.rlim_max {
            // Only CAP_SYS_RESOURCE may raise the hard limit.
            var both = rlimit(rlim_cur: target, rlim_max: target)
            if unsafe ringmirror_set_memlock(&both) == 0 { return }
        }
        limit.rlim_cur = min(target, limit.rlim_max)
        _ = unsafe ringmirror_set_memlock(&limit)
    }
}
