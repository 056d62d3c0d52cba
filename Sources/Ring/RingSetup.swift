internal import CLiburing
internal import Glibc

/// What a ring got of the things it asked for. Everything here is optional for being correct, and
/// worth telling when it is missing, because it costs speed.
public struct RingSetup: Sendable, Equatable {
    /// The buffers are pinned once instead of for each request.
    public let registeredBuffers: Bool
    /// Why not, where not.
    public let plainBuffersReason: String?
    /// The files are looked up once instead of for each request.
    public let registeredFiles: Bool
    /// Completions are processed only when the ring's thread asks for them, which saves wake-ups.
    public let deferredTaskRun: Bool

    @safe struct Made {
        let ring: OpaquePointer
        let setup: RingSetup
        let supportedOperations: UInt64
    }

    /// Makes the ring and registers what can be.
    static func make(depth: Int, files: [CInt], buffers: BufferSlab) throws(RingError) -> Made {
        let (ring, flags) = unsafe try open(depth: depth)
        do throws(RingError) {
            unsafe try checkFeatures(ringmirror_ring_features(ring))
        } catch {
            unsafe ringmirror_ring_free(ring)
            throw error
        }

        let registeredFiles =
            !files.isEmpty
            && (unsafe ringmirror_ring_register_files(ring, files, UInt32(files.count))) == 0
        let refusal = unsafe register(buffers, with: ring)
        let setup = RingSetup(
            registeredBuffers: refusal == nil,
            plainBuffersReason: refusal,
            registeredFiles: registeredFiles,
            deferredTaskRun: flags & ringmirror_setup_deferred != 0)
        // Where the kernel doesn't tell its operations (a sandbox may forbid io_uring_register),
        // all of ours are there: they are older than the features checked above.
        return unsafe Made(
            ring: ring, setup: setup, supportedOperations: ringmirror_ring_operations(ring))
    }

    /// Opens a ring with the best flags that this kernel takes, and tells them.
    private static func open(depth: Int) throws(RingError) -> (OpaquePointer, UInt32) {
        let single = ringmirror_setup_single_issuer
        let deferred = ringmirror_setup_deferred
        let cooperative = ringmirror_setup_cooperative
        let submitAll = ringmirror_setup_submit_all
        // Linux 6.1, 6.0, 5.19, 5.18, and before.
        let ladder = [
            single | deferred | cooperative | submitAll, single | cooperative | submitAll,
            cooperative | submitAll, submitAll, 0,
        ]
        var result: CInt = 0
        var ring: OpaquePointer?
        for flags in ladder {
            result = unsafe ringmirror_ring_make(
                UInt32(depth), flags | ringmirror_setup_clamp, &ring)
            if let ring = unsafe ring { return unsafe (ring, flags) }
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

    /// Registers the slab as buffer 0. Returns nil, or why it could not be done.
    private static func register(
        _ buffers: BufferSlab, with ring: OpaquePointer
    ) -> String? {
        let start = unsafe buffers.address(0, count: buffers.byteCount)
        var result = unsafe ringmirror_ring_register_memory(ring, start, buffers.byteCount)
        if result == -ENOMEM {
            MemoryLock.raise(toFit: buffers.byteCount)
            result = unsafe ringmirror_ring_register_memory(ring, start, buffers.byteCount)
        }
        switch -result {
        case 0: return nil
        case ENOMEM:
            return "the memlock limit is below \(buffers.byteCount >> 20) MiB (ulimit -l); "
                + "raise it for less CPU time"
        default:
            return "registering buffers failed: \(errorText(-result))"
        }
    }
}
