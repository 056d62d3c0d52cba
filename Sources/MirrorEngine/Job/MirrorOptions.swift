public import Ring

/// What to do with the bytes of a source that are zero.
public enum ZeroHandling: String, Sendable, CaseIterable {
    /// Holes of the source and data that is all zero become holes of the target, where it can have
    /// them.
    case detect
    /// Only holes of the source become holes of the target.
    case holes
    /// Zeros are written like any other data, so that the target is fully allocated.
    case write
}

/// What to do when bytes can't be read or written, after retrying and narrowing did not help.
public enum ErrorPolicy: String, Sendable, CaseIterable {
    /// Fail the job at the first error.
    case report
    /// Count it, go on, try once more at the end, and fail if bytes remain.
    case ignore
    /// Pause, and try again when the job is resumed.
    case stop
    /// Pause when the target is full, else report.
    case enospc
}

/// How a mirror is made. The defaults are right for most disks.
public struct MirrorOptions: Sendable, Equatable {
    /// Bytes in one read or write, a power of two from 4 KiB to 16 MiB; nil chooses by the devices.
    public var requestSize: Int?
    /// Requests in flight on each ring, 1 to 1024; nil chooses by the devices.
    public var depth: Int?
    /// Rings, each with a thread, 1 to 64.
    public var rings = 1
    /// How requests reach the kernel.
    public var io = IOMethod.automatic
    public var zeroes = ZeroHandling.detect
    /// Whoever asks for the mirror knows that the whole target reads as zeros, so zeros need no
    /// work.
    public var targetIsZero = false
    /// Bytes a second that may be moved; nil is no limit. `MirrorJob.setSpeedLimit` changes it
    /// later.
    public var speedLimit: Int64?
    public var sourceErrorPolicy = ErrorPolicy.report
    public var targetErrorPolicy = ErrorPolicy.report

    public init() {}

    /// Throws `MirrorError.invalidOption` for values that no job can run with, whatever its disks
    /// are. To be asked before a target is opened: opening may make it.
    public func validate() throws(MirrorError) { try JobSizing.validate(self) }
}
