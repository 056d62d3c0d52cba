public import BlockStorage
internal import DirtyBitmap
public import SystemPackage

/// What is asked of `BitmapStore.beginJob`.
public struct JobRequest: Sendable {
    /// What the job copies.
    public var mode: JobMode
    /// The named bitmap that it works on; nil: none, the record then serves resuming alone.
    public var bitmap: BitmapReference?
    /// What becomes of that bitmap at the end.
    public var bitmapMode: BitmapMode
    /// What is read, and how it is called.
    public var source: DeviceIdentity
    /// See `source`.
    public var sourcePath: FilePath
    /// Its files as they are now, in the order of the disk's; empty where nobody knows.
    public var sourceWitness: [WriteWitness] = []
    /// What is written, and how it is called.
    public var target: DeviceIdentity
    /// See `target`.
    public var targetPath: FilePath
    /// Its files as they are before the first write; empty where nobody knows.
    public var targetWitness: [WriteWitness] = []
    /// How many of those files the job writes, the first ones; the others it only reads. Nil: all.
    public var writtenFiles: Int?
    /// The disk whose content the target has before the first write, if an incremental job goes on
    /// from that: another than the target, if that is a new overlay of it. Nil: the target's own.
    public var heldContent: DeviceIdentity?
    /// Whether an incremental job may write a target that the bitmap does not know, although it
    /// knows others: the caller answers for it that the marks are all that this target lacks.
    public var allowsUnknownTarget = false
    /// Whether the source was written without a mark since the last look at it, as far as its
    /// files tell: what other targets of the bitmap lack is then everything.
    public var hasMissedWrite = false
    /// Whether a job that is resumed copies everything again, because what it had copied is not
    /// known to be right.
    public var copiesAll = false
    /// Why it can't be told whether the source was written without a mark since the last look at
    /// it; nil: it can. All targets of the bitmap are in doubt of that then.
    public var sourceDoubt: TargetDoubt.Kind?
    /// Whether a bitmap in an image takes marks. Of its own bitmaps the store knows it.
    public var isImageBitmapRecording = true
    /// What the job takes on trust, besides a target that its bitmap does not know.
    public var doubts: Set<TargetDoubt.Kind> = []
    /// In how many places of a sample both sides were the same where the job will copy nothing.
    public var samplePlaces = 0

    /// A job from `source` to `target`.
    public init(
        mode: JobMode, bitmap: BitmapReference? = nil, bitmapMode: BitmapMode = .onSuccess,
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
    public let bitmap: BitmapReference?
    /// What becomes of that bitmap at the end.
    public let bitmapMode: BitmapMode
    /// What is read.
    public let source: DeviceIdentity
    /// How it was called.
    public let sourcePath: FilePath
    /// The source's files when the job began or was last resumed; empty where nobody knows.
    public let sourceWitness: [WriteWitness]
    /// Whether the bitmap took no marks for a time since then, so that writes to the source may
    /// have gone unmarked.
    public let isUnrecorded: Bool
    /// Bytes that its bitmap, one of the store, has had marked since it began or was last resumed.
    public let markedBytes: Int64
    /// What is written.
    public let target: DeviceIdentity
    /// How it was called.
    public let targetPath: FilePath
    /// The target's files as the job left them; those that it writes are `.unknown` while it runs,
    /// and if it died. Empty where nobody knows of any.
    public let targetWitness: [WriteWitness]
    /// What the job has taken on trust of its target, one of each kind.
    public let doubts: [TargetDoubt]
    /// Seconds since 1970; of the first start, if it was resumed.
    public let startedAt: Int64
    /// Seconds since 1970; nil before the first checkpoint.
    public let checkpointedAt: Int64?
    /// Bytes that the job had to copy when it began; no fewer than `remainingBytes`, which can have
    /// grown since by what was marked.
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
