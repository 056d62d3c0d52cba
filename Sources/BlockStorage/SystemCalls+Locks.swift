internal import CLinux
import Glibc
package import SystemPackage

// Locks of whole files and of bytes.

extension SystemCalls {
    /// True if the lock was taken, false if somebody else has it.
    package static func tryLock(_ descriptor: Descriptor, _ operation: CInt) throws(Errno) -> Bool {
        while flock(descriptor.raw, operation | LOCK_NB) != 0 {
            if errno == EWOULDBLOCK { return false }
            if errno != EINTR { throw Errno(rawValue: errno) }
        }
        return true
    }

    enum RecordLock {
        case none
        case held(pid: Int?)
    }

    static func foreignRecordLock(_ descriptor: Descriptor) throws(Errno) -> RecordLock {
        var found: CInt = 0
        var pid: CInt = 0
        try check(unsafe ringmirror_foreign_record_lock(descriptor.raw, &found, &pid))
        return found == 0 ? .none : .held(pid: pid > 0 ? Int(pid) : nil)
    }

    /// Takes a lock on one byte that others may share. False if somebody has it for himself.
    static func shareRecordLock(_ descriptor: Descriptor, at byte: Int64) throws(Errno) -> Bool {
        let failure = ringmirror_record_lock_share(descriptor.raw, byte)
        if failure == EAGAIN || failure == EACCES { return false }
        try check(failure)
        return true
    }

    /// Whether anybody has a lock on this byte, other than by this very descriptor.
    static func isRecordLocked(_ descriptor: Descriptor, at byte: Int64) throws(Errno) -> Bool {
        var found: CInt = 0
        try check(unsafe ringmirror_record_lock_query(descriptor.raw, byte, &found))
        return found != 0
    }

    /// Who has a regular file open for writing, or mapped so, as a lease tells in microseconds.
    enum Writers {
        /// Nobody.
        case none
        /// Somebody, who may be this process.
        case some
        /// Leases don't work here: the file is another user's, or the filesystem has none.
        case unknown
    }

    /// - Parameter descriptor: open for reading alone: one that may write would count.
    static func writers(of descriptor: Descriptor) -> Writers {
        switch ringmirror_probe_writers(descriptor.raw) {
        case 0: .none
        case EAGAIN: .some
        default: .unknown
        }
    }
}
