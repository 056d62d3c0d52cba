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
        let ring: UnsafeMutablePointer<io_uring>
        let setup: RingSetup
        let supportedOperations: UInt64
    }

    /// Makes the ring and registers what can be.
    static func make(depth: Int, files: [CInt], buffers: BufferSlab) throws(RingError) -> Made {
        let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
        unsafe ring.initialize(to: io_uring())
        let flags: UInt32
        do throws(RingError) {
            flags = unsafe try open(ring, depth: depth)
        } catch {
            unsafe ring.deallocate()
            throw error
        }
        do throws(RingError) {
            unsafe try checkFeatures(ring)
        } catch {
            unsafe io_uring_queue_exit(ring)
            unsafe ring.deallocate()
            throw error
        }

        let registeredFiles =
            !files.isEmpty
            && (unsafe io_uring_register_files(ring, files, UInt32(files.count))) == 0
        let refusal = unsafe register(buffers, with: ring)
        let setup = RingSetup(
            registeredBuffers: refusal == nil,
            plainBuffersReason: refusal,
            registeredFiles: registeredFiles,
            deferredTaskRun: flags & UInt32(IORING_SETUP_DEFER_TASKRUN) != 0)
        return unsafe Made(ring: ring, setup: setup, supportedOperations: probe(ring))
    }

    /// Opens the ring with the best flags that this kernel takes, and returns them.
    private static func open(
        _ ring: UnsafeMutablePointer<io_uring>, depth: Int
    ) throws(RingError) -> UInt32 {
        let single = UInt32(IORING_SETUP_SINGLE_ISSUER)
        let deferred = UInt32(IORING_SETUP_DEFER_TASKRUN)
        let cooperative = UInt32(IORING_SETUP_COOP_TASKRUN)
        let submitAll = UInt32(IORING_SETUP_SUBMIT_ALL)
        // Linux 6.1, 6.0, 5.19, 5.18, and before.
        let ladder = [
            single | deferred | cooperative | submitAll, single | cooperative | submitAll,
            cooperative | submitAll, submitAll, 0,
        ]
        var result: Int32 = 0
        for flags in ladder {
            var parameters = io_uring_params()
            parameters.flags = flags | UInt32(IORING_SETUP_CLAMP)
            result = unsafe io_uring_queue_init_params(UInt32(depth), ring, &parameters)
            if result == 0 { return flags }
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

    private static func checkFeatures(
        _ ring: UnsafeMutablePointer<io_uring>
    ) throws(RingError) {
        let features = unsafe ring.pointee.features
        if features & UInt32(IORING_FEAT_EXT_ARG) == 0 {
            throw .kernelTooOld(missing: "waiting with a time limit (IORING_FEAT_EXT_ARG)")
        }
        if features & UInt32(IORING_FEAT_NODROP) == 0 {
            throw .kernelTooOld(missing: "completions that are never dropped (IORING_FEAT_NODROP)")
        }
    }

    /// Registers the slab as buffer 0. Returns nil, or why it could not be done.
    private static func register(
        _ buffers: BufferSlab, with ring: UnsafeMutablePointer<io_uring>
    ) -> String? {
        var memory = unsafe iovec(
            iov_base: buffers.address(0, count: buffers.byteCount), iov_len: buffers.byteCount)
        var result = unsafe io_uring_register_buffers(ring, &memory, 1)
        if result == -ENOMEM {
            MemoryLock.raise(toFit: buffers.byteCount)
            result = unsafe io_uring_register_buffers(ring, &memory, 1)
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

    /// One bit for each operation that the kernel knows. Where it doesn't tell (a sandbox may
    /// forbid io_uring_register), all of ours are there: they are older than the features checked
    /// above.
    private static func probe(_ ring: UnsafeMutablePointer<io_uring>) -> UInt64 {
        guard let probe = unsafe io_uring_get_probe_ring(ring) else { return .max }
        defer { unsafe io_uring_free_probe(probe) }
        var supported: UInt64 = 0
        for opcode in CInt(0)..<64 where unsafe io_uring_opcode_supported(probe, opcode) != 0 {
            supported |= 1 << UInt64(opcode)
        }
        return supported
    }
}
