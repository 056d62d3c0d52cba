public import BlockStorage
public import Ring

/// How a job ended.
public enum MirrorOutcome: Sendable {
    /// The target reads as the source did, and is on stable storage, as far as the report has no
    /// doubts.
    case mirrored
    /// The target is not a mirror.
    case failed(MirrorError)
    /// The job was told to stop. The target is not a mirror.
    case cancelled
}

/// What a job did. All sizes are in bytes.
public struct MirrorReport: Sendable {
    public internal(set) var outcome: MirrorOutcome
    /// What the job was to make identical.
    public let planned: Int64
    /// Of that, what it did.
    public let done: Int64
    public let read: Int64
    public let written: Int64
    /// Made to read as zeros without writing.
    public let zeroed: Int64
    /// Zeros that the target was known to have.
    public let skipped: Int64
    /// Requests that were issued once more, after a short or failed one.
    public let retries: UInt64
    /// What could not be read or written, at most 65,536 ranges.
    public let failures: [FailedRange]
    /// Whether the target was flushed after the last write.
    public let flushed: Bool
    /// From the first request to the end of the flush, in seconds.
    public let seconds: Double
    /// CPU seconds of the whole process meanwhile, the kernel's work for it included.
    public let cpuSeconds: Double
    public let statistics: QueueStatistics
    public let requestSize: Int
    public let depth: Int
    public let rings: Int
    public let sourceCaching: Caching
    public let targetCaching: Caching
    /// What carried the requests out, `.uring` or `.threads`; nil if nothing could be made for it.
    public let io: IOMethod?
    /// Why it was threads, where a ring was preferred.
    public let ringRefusal: RingError?
    /// Why the buffers are not registered with the kernel; nil if they are, or if no ring could be
    /// made.
    public let plainBuffersReason: String?
    /// The bitmaps kept of the target, outside of it, that were marked with what was to be written.
    public let markedBitmaps: [String]

    /// What is not known of others who may have written the target while the job ran: a target that
    /// something else had open, or a filesystem or kernel that does not tell. Empty for the copying
    /// of another job, which asks that at its own end.
    public internal(set) var doubts: [MirrorEvidence] = []

    /// Bytes of the disk a second.
    public var rate: Double { seconds > 0 ? Double(done) / seconds : 0 }
}

extension MirrorOutcome {
    var isMirrored: Bool {
        if case .mirrored = self { true } else { false }
    }
}
