public import DirtyBitmap

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
    /// What marks in the kernel what is written, if anything does: the bitmap is to get it yet.
    public let tracker: StoredTracker?
    /// Whether a job on it died or failed and can be resumed.
    public let isInterrupted: Bool
    /// Dirty granules.
    public let dirtyCount: Int
    /// Dirty bytes, exact: a short last granule counts with its real length.
    public let dirtyBytes: Int64
    /// Seconds since 1970.
    public let createdAt: Int64
    /// The disks and images that its jobs have written, the newest mirror last.
    public let targets: [StoredTarget]

    /// The last job on it that succeeded; nil: none yet.
    public var lastSuccess: LastSuccess? { targets.last { $0.lastSuccess != nil }?.lastSuccess }

    /// Whether a job or recorder works on it: it can't be changed then, only marked.
    public var isBusy: Bool { holder != nil }
}
