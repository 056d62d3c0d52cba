internal import CLiburing
internal import Glibc

/// What is chosen when a ring is made.
package struct RingOptions: Sendable {
    /// How many entries may be in flight at once, from 1 to 4096.
    package let depth: Int
    /// Submission entries have 128 bytes instead of 64, of which a command has 80 instead of 16;
    /// from Linux 5.19 on.
    package var hasWideEntries = false
    /// Completions have 32 bytes instead of 16; from Linux 5.19 on.
    package var hasWideCompletions = false

    /// Entries and completions of the usual size.
    package init(depth: Int) {
        precondition(depth > 0 && depth <= 4096)
        self.depth = depth
    }
}

extension RingCore {
    /// Opens a ring with the best flags that this kernel takes, and looks whether it can do what
    /// is needed.
    static func open(
        _ options: RingOptions
    ) throws(RingError) -> (ring: OpaquePointer, isDeferred: Bool) {
        let single = ringmirror_setup_single_issuer
        let deferred = ringmirror_setup_deferred
        let cooperative = ringmirror_setup_cooperative
        let submitAll = ringmirror_setup_submit_all
        // Linux 6.1, 6.0, 5.19, 5.18, and before.
        let ladder = [
            single | deferred | cooperative | submitAll, single | cooperative | submitAll,
            cooperative | submitAll, submitAll, 0,
        ]
        var always = ringmirror_setup_clamp
        if options.hasWideEntries { always |= ringmirror_setup_wide_entries }
        if options.hasWideCompletions { always |= ringmirror_setup_wide_completions }
        var result: CInt = 0
        var made: OpaquePointer?
        for flags in ladder {
            result = unsafe ringmirror_ring_make(UInt32(options.depth), flags | always, &made)
            if let ring = unsafe made {
                do throws(RingError) {
                    unsafe try checkFeatures(ringmirror_ring_features(ring))
                } catch {
                    unsafe ringmirror_ring_free(ring)
                    throw error
                }
                return unsafe (ring, flags & deferred != 0)
            }
            if result != -EINVAL { break }
        }
        throw refusal(
            of: -result, disabledText: readSmallFile("/proc/sys/kernel/io_uring_disabled"))
    }

    /// What a failed io_uring_setup means. `disabledText` is what the kernel says of
    /// `kernel.io_uring_disabled`; nil before Linux 6.6, which has no such setting.
    static func refusal(of code: CInt, disabledText: String?) -> RingError {
        switch code {
        case ENOSYS: return .notSupported
        case ENOMEM: return .outOfMemory
        case EPERM, EACCES:
            let sysctl = disabledText.flatMap { Int($0.prefix { $0.isNumber }) }
            if let sysctl, sysctl > 0 { return .disabled(sysctl: sysctl) }
            return .forbidden
        default: return .systemCall("io_uring_setup", code: code)
        }
    }

    private static func checkFeatures(_ features: UInt32) throws(RingError) {
        if features & ringmirror_feature_time_limit == 0 {
            throw .kernelTooOld(missing: "waiting with a time limit (IORING_FEAT_EXT_ARG)")
        }
        if features & ringmirror_feature_nodrop == 0 {
            throw .kernelTooOld(missing: "completions that are never dropped (IORING_FEAT_NODROP)")
        }
    }
}
