internal import Glibc

/// Why a ring can't be had, or stopped working. Failures of single requests are not among these:
/// they arrive as completions.
public enum RingError: Error, Sendable, Equatable {
    /// The kernel has no io_uring, or was built without it.
    case notSupported
    /// The kernel has io_uring and lacks a part that ringmirror needs.
    case kernelTooOld(missing: String)
    /// `kernel.io_uring_disabled` forbids it.
    case disabled(sysctl: Int)
    /// Something else forbids it: most often the seccomp profile of a container.
    case forbidden
    /// The kernel refused memory for the ring itself.
    case outOfMemory
    /// Memory for the buffers can't be mapped, or nothing would be left besides: `needed` bytes
    /// have to be free.
    case noBufferMemory(bytes: Int, needed: Int, code: CInt)
    /// A system call failed in a way that has no name of its own here.
    case systemCall(String, code: CInt)
}

extension RingError: CustomStringConvertible {
    /// What is wrong and what to do about it.
    public var description: String {
        advice.isEmpty ? problem : "\(problem); \(advice)"
    }

    /// What is wrong: a clause.
    public var problem: String {
        switch self {
        case .notSupported: "this kernel has no io_uring"
        case .kernelTooOld(let missing): "this kernel's io_uring lacks \(missing)"
        case .disabled(let sysctl):
            "io_uring is disabled by kernel.io_uring_disabled=\(sysctl)"
        case .forbidden:
            "io_uring is forbidden to this process, most often by a container's seccomp profile"
        case .outOfMemory: "the kernel has no memory for an io_uring"
        case .noBufferMemory(let bytes, let needed, let code):
            "\(bytes >> 20) MiB of buffers can't be had, for which \(needed >> 20) MiB have to be "
                + "free: \(errorText(code))\(AddressSpace.limitText)"
        case .systemCall(let call, let code): "\(call) failed: \(errorText(code))"
        }
    }

    /// What to do about it outside of the program: a clause, or nothing.
    public var advice: String {
        switch self {
        case .notSupported: "Linux 5.11 or later is needed, built with CONFIG_IO_URING"
        case .kernelTooOld: "Linux 5.11 or later is needed"
        case .disabled(let sysctl):
            "as root run 'sysctl kernel.io_uring_disabled=0'"
                + (sysctl == 1
                    ? ", or put this user in the group that kernel.io_uring_group names" : "")
        case .forbidden:
            "allow io_uring_setup, io_uring_enter and io_uring_register there "
                + "(docker run --security-opt seccomp=…), or run outside the container"
        // Kernels before 5.12 count a ring against that limit, and recent ones again.
        case .outOfMemory: "raise the memlock limit (ulimit -l), or free memory"
        case .noBufferMemory: "raise the limit, or free memory"
        case .systemCall: ""
        }
    }
}

/// What the C library calls an errno.
public func errorText(_ code: CInt) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
}
