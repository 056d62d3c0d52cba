public import BlockStorage
public import Ring
public import SystemPackage

/// A ring knows nothing of `DescribedError`: what it means to a job is said here.
extension RingError: DescribedError {
    public var category: ErrorCategory { .failed }

    public var code: ErrorCode {
        switch self {
        case .noBufferMemory: .outOfMemory
        case .notSupported, .kernelTooOld, .disabled, .forbidden, .outOfMemory, .systemCall: .noRing
        }
    }

    public var path: FilePath? { nil }

    public var remedy: Remedy {
        let first = advice.prefix(1).uppercased() + advice.dropFirst()
        return switch self {
        case .outOfMemory: "\(first), or \(.fewerRequests)."
        case .noBufferMemory: "\(first), or \(.lessMemory)."
        case .notSupported, .kernelTooOld, .disabled, .forbidden: "\(first)."
        case .systemCall: .none
        }
    }
}
