public import BlockStorage
public import DirtyBitmap
public import SystemPackage

/// What becomes of a named bitmap at the end of a job that worked on it.
public enum BitmapMode: String, Sendable, CaseIterable, Codable {
    /// Cleared of what the job copied, if the job succeeded; untouched if it failed.
    case onSuccess = "on-success"
    /// Never touched.
    case never
    /// Cleared of what is durable on the target, also if the job failed.
    case always
}

/// What a job copies.
public enum JobMode: String, Sendable, CaseIterable, Codable {
    /// Everything.
    case full
    /// What the top layer of an image has.
    case top
    /// What a named bitmap has dirty.
    case incremental
}

/// Whether a bitmap takes marks.
public enum BitmapState: String, Sendable, CaseIterable, Codable {
    /// It takes them.
    case recording
    /// It keeps what it has.
    case disabled
    /// A recorder died: it can be removed, or read as "everything is dirty".
    case inconsistent
}

/// A process that works on a bitmap, for messages. Whether it lives is told by a lock, not by this.
public struct JobHolder: Hashable, Sendable, Codable, CustomStringConvertible {
    /// In the pid namespace of that process.
    public let pid: Int
    /// The name of its program.
    public let command: String
    /// Seconds since 1970.
    public let startedAt: Int64

    /// Facts about a process.
    public init(pid: Int, command: String, startedAt: Int64) {
        self.pid = pid
        self.command = command
        self.startedAt = startedAt
    }

    public var description: String { "process \(pid) (\(command))" }
}

/// The last job on a bitmap that succeeded.
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
    /// When the target had last been written, in nanoseconds since 1970; nil where nobody knows.
    public let targetModified: Int64?

    /// Facts about a job that ended.
    public init(
        time: Int64, target: DeviceIdentity, targetPath: String, bytesCopied: Int64, mode: JobMode,
        targetModified: Int64? = nil
    ) {
        self.time = time
        self.targetModified = targetModified
        self.target = target
        self.targetPath = targetPath
        self.bytesCopied = bytesCopied
        self.mode = mode
    }
}

/// A named bitmap as it was when the store was asked.
public struct StoredBitmap: Hashable, Sendable {
    /// 1 to 1023 bytes, unique in its store.
    public let name: String
    /// Bytes of the disk.
    public let size: Int64
    /// Bytes per bit.
    public let granularity: Granularity
    /// A bitmap whose recorder is dead says `inconsistent`, also before that is written down.
    public let state: BitmapState
    /// Who works on it; nil: nobody.
    public let holder: JobHolder?
    /// Whether a job on it died or failed and can be resumed.
    public let isInterrupted: Bool
    /// Dirty granules.
    public let dirtyCount: Int
    /// Dirty bytes, exact: a short last granule counts with its real length.
    public let dirtyBytes: Int64
    /// Seconds since 1970.
    public let createdAt: Int64
    /// The last job on it that succeeded; nil: none yet.
    public let lastSuccess: LastSuccess?

    /// Whether a job or recorder works on it: it can't be changed then, only marked.
    public var isBusy: Bool { holder != nil }
}

/// What is asked of `BitmapStore.beginJob`.
public struct JobRequest: Sendable {
    /// What the job copies.
    public var mode: JobMode
    /// The named bitmap that it works on; nil: none, the record then serves resuming alone.
    public var bitmap: String?
    /// What becomes of that bitmap at the end.
    public var bitmapMode: BitmapMode
    /// What is read, and how it is called.
    public var source: DeviceIdentity
    /// See `source`.
    public var sourcePath: FilePath
    /// When the source was last written, in nanoseconds since 1970; nil where nobody knows.
    public var sourceModified: Int64?
    /// What is written, and how it is called.
    public var target: DeviceIdentity
    /// See `target`.
    public var targetPath: FilePath

    /// A job from `source` to `target`.
    public init(
        mode: JobMode, bitmap: String? = nil, bitmapMode: BitmapMode = .onSuccess,
        source: DeviceIdentity, sourcePath: FilePath, target: DeviceIdentity, targetPath: FilePath
    ) {
        self.mode = mode
        self.bitmap = bitmap
        self.bitmapMode = bitmapMode
        self.source = source
        self.sourcePath = sourcePath
        self.target = target
        self.targetPath = targetPath
    }
}

/// A job as its record tells it.
public struct StoredJob: Hashable, Sendable {
    /// Never used again in this store.
    public let id: UInt64
    /// What the job copies.
    public let mode: JobMode
    /// The bitmap that it works on.
    public let bitmap: String?
    /// What becomes of that bitmap at the end.
    public let bitmapMode: BitmapMode
    /// What is read.
    public let source: DeviceIdentity
    /// How it was called.
    public let sourcePath: FilePath
    /// When the source was last written as the job began, in nanoseconds since 1970; nil where
    /// nobody knows.
    public let sourceModified: Int64?
    /// What is written.
    public let target: DeviceIdentity
    /// How it was called.
    public let targetPath: FilePath
    /// Seconds since 1970; of the first start, if it was resumed.
    public let startedAt: Int64
    /// Seconds since 1970; nil before the first checkpoint.
    public let checkpointedAt: Int64?
    /// Bytes that the job had to copy when it began.
    public let planned: Int64
    /// Bytes not known to be durable on the target, of those that were to be copied when the job
    /// began or was last resumed.
    public let remainingBytes: Int64
    /// Whether its process lives and works on it. If not, it can be resumed.
    public let isRunning: Bool
    /// The process that runs it or ran it last.
    public let holder: JobHolder
}

/// How a job ended.
public enum JobEnding: Hashable, Sendable {
    /// Everything that it took is durable on the target.
    case success
    /// It failed, or was stopped.
    case failure
}
