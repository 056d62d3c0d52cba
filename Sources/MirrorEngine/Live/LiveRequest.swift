public import SystemPackage

/// How a disk is mirrored that is in use.
public struct LiveRequest: Sendable {
    /// What holds those back who write the disk, for the last moment.
    public enum Hold: Sendable {
        /// All mounted filesystems that have something on the disk are frozen.
        case freeze
        /// The job waits until nothing has it mounted or open for writing any more.
        case untilUnused
        /// The caller stops the writers: what it gives back says why they could not be stopped, nil
        /// that they were. They have to stand still until the job has ended.
        case stop(@Sendable () -> String?)
    }

    /// What holds the writers back.
    public var hold: Hold
    /// The job stays until somebody says `complete`, and copies what is written meanwhile.
    public var follows = false
    /// How long the writers may be held back, in nanoseconds. It begins only when the rest is
    /// expected to be copied within that, and if it is not, they are let go and it is tried again.
    public var maxPause: Int64 = 2_000_000_000
    /// Paths that are written while the writers are held back: a log, for instance. None of them
    /// may be on a filesystem that is frozen.
    public var ours: [FilePath] = []

    /// No disk is compared faster, in bytes a second.
    private static var fastestComparison: Int64 { 16 << 30 }

    /// Refuses to compare what will not be compared while the writers are held back.
    func requirePause(for verification: MirrorVerification, of size: Int64) throws(MirrorError) {
        guard case .freeze = hold, verification == .all else { return }
        let time = Double(size) / Double(Self.fastestComparison) * 1e9
        guard time > Double(maxPause) else { return }
        throw .live(.pauseTooShort(bytes: size, milliseconds: Int64(time / 1e6) + 1))
    }

    /// A request with defaults for all else.
    public init(_ hold: Hold) { self.hold = hold }
}

/// What proves that a target is what a disk in use was at one moment.
public struct LiveProof: Sendable, Hashable {
    /// What held those back who write the source.
    public enum Hold: Sendable, Hashable {
        /// These filesystems were frozen, for so many nanoseconds; 0: they are still.
        case frozen([String], Int64)
        /// Nothing had the source mounted or open for writing.
        case unused
        /// The caller had stopped them.
        case stopped
    }

    /// What held them back.
    public internal(set) var hold: Hold
    /// When it was proven, in seconds since 1970.
    public internal(set) var moment: Int64

    /// The same as a phrase.
    var text: String {
        let how =
            switch hold {
            case .frozen(let filesystems, _) where filesystems.isEmpty:
                "nothing of the source was mounted"
            case .frozen(let filesystems, let time):
                "\(filesystems.joined(separator: ", ")) "
                    + (filesystems.count == 1 ? "was" : "were")
                    + " frozen" + (time > 0 ? " for \(time / 1_000_000) ms" : "")
            case .unused: "nothing had the source mounted or open for writing"
            case .stopped: "those who write the source were stopped"
            }
        return "\(how); the kernel told of each write, none was in flight, and none came before "
            + "all of them were on the target's stable storage"
    }
}

extension RecordedMirror.Request {
    /// When a live mirror ends.
    func livePlan(_ changes: KernelChanges) -> LivePlan {
        guard let live else { preconditionFailure("the source stands still") }
        let ending: LivePlan.Ending
        switch live.hold {
        case _ where live.follows: ending = .whenAsked
        case .freeze, .stop: ending = .whenItFits
        case .untilUnused: ending = .when { changes.isDue }
        }
        var plan = LivePlan(
            ending: ending, maxPause: live.maxPause, holdsBeyondFlush: verification != .none)
        // Only a freeze ends by itself.
        if case .freeze = live.hold { plan.comparison = verification }
        return plan
    }
}
