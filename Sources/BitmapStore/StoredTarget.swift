public import BlockStorage
public import SystemPackage

/// Which named bitmap is meant.
public enum BitmapReference: Hashable, Sendable {
    /// One of the store.
    case stored(String)
    /// One that the image keeps itself; the store knows its targets and jobs.
    case image(String)

    /// Unique among the bitmaps of its kind.
    public var name: String {
        switch self {
        case .stored(let name), .image(let name): name
        }
    }
}

/// A disk or image that a bitmap's jobs have written, as it was when the store was asked.
///
/// What it lacks is known exactly: the bitmap's marks, and what the store keeps for it because
/// the marks were taken by jobs to other targets.
public struct StoredTarget: Hashable, Sendable {
    /// What was written.
    public let identity: DeviceIdentity
    /// How it was called then.
    public let path: FilePath
    /// The last job that made a mirror of it; nil: none yet.
    public let lastSuccess: LastSuccess?
    /// Bytes that an incremental job to it would copy now.
    public let lackedBytes: Int64
    /// How the last job left its files. `.unknown` are those that a job writes that runs, or died;
    /// empty where nobody knows of any.
    public let witness: [WriteWitness]
    /// What of it was taken on trust since all of it was last copied or compared, one of each kind.
    public let doubts: [TargetDoubt]
}

/// A job on a bitmap that succeeded.
public struct LastSuccess: Hashable, Sendable, Codable {
    /// Seconds since 1970.
    public let time: Int64
    /// What was written.
    public let target: DeviceIdentity
    /// How it was called then.
    public let targetPath: String
    /// How much was written.
    public let bytesCopied: Int64
    /// What the job copied.
    public let mode: JobMode
    /// The source's files when the job ended; empty where nobody knows.
    public let sourceWitness: [WriteWitness]
    /// The target's files, as `StoredTarget.witness`.
    public let targetWitness: [WriteWitness]

    /// Facts about a job that ended.
    public init(
        time: Int64, target: DeviceIdentity, targetPath: String, bytesCopied: Int64, mode: JobMode,
        sourceWitness: [WriteWitness] = [], targetWitness: [WriteWitness] = []
    ) {
        self.time = time
        self.target = target
        self.targetPath = targetPath
        self.bytesCopied = bytesCopied
        self.mode = mode
        self.sourceWitness = sourceWitness
        self.targetWitness = targetWitness
    }
}
