internal import BlockStorage
internal import Freezing
internal import Synchronization
internal import SystemPackage

/// What holds those back who write a disk, while the rest of it is copied.
protocol WriterHold: Sendable {
    /// Whether it is time, as far as that does not depend on the job. It is asked often.
    var isDue: Bool { get }

    /// What the user should know before they are held back, in sentences.
    var warnings: [String] { get }

    /// Whether they can be held back and let go again at any time, so that it may be done once more
    /// than for the end.
    var canHoldForAMoment: Bool { get }

    /// Does ahead, while the writers go on, what would take time when they are held back. It may
    /// wait for disks.
    func settle()

    /// Holds the writers back, at most so many nanoseconds.
    ///
    /// - Throws: none of them is held back then. What `mayPass` may be tried again.
    func begin(limit: Int64) throws(LiveError)

    /// Whether nothing is known of an end of it. It waits for nothing.
    var isHeld: Bool { get }

    /// Whether they are held back still. Asked last, when everything else is proven.
    func isStillHeld() -> Bool

    /// Lets them go on. It may be called also when nothing is held.
    ///
    /// - Returns: what holds them back still, although it should not; nil: nothing does.
    func end() -> LiveError?

    /// What was done, for the claim; nil if nothing was held back.
    var evidence: LiveProof.Hold? { get }
}

extension WriterHold {
    var warnings: [String] { [] }
    var canHoldForAMoment: Bool { false }
    var isHeld: Bool { true }
    func settle() {}
}

/// All mounted filesystems of a disk, frozen.
final class FrozenFilesystems: WriterHold {
    private let disk: FilePath
    private let ours: [FilePath]
    private let state = Mutex(State())
    let warnings: [String]
    let canHoldForAMoment = true

    private struct State {
        /// What is frozen now.
        var freeze: Freeze?
        /// What the last time was like.
        var evidence: LiveProof.Hold?
        /// What did not become still in time. The kernel may be freezing it still.
        var hung: MountedFilesystem?

        /// What an error means after those before it: what is frozen by somebody else may be so by
        /// an earlier try of ours, which its disk keeps from coming to an end.
        mutating func note(_ error: FreezeError) -> FreezeError {
            switch error {
            case .hung(let filesystem): hung = filesystem
            case .alreadyFrozen(let filesystem) where filesystem.device == hung?.device:
                return .hung(filesystem)
            default: break
            }
            return error
        }
    }

    /// Looks at what would be frozen.
    ///
    /// - Parameter ours: what this program writes while it is frozen.
    /// - Throws: also where something writes the disk that no freezing holds back.
    init(_ disk: FilePath, ours: [FilePath]) throws(LiveError) {
        self.disk = disk
        self.ours = ours
        warnings = try Self.plan(disk, ours).warnings
    }

    private static func plan(_ disk: FilePath, _ ours: [FilePath]) throws(LiveError) -> FreezePlan {
        do throws(FreezeError) {
            let plan = try FreezePlan.make(for: disk, ours: ours)
            guard plan.unheld.isEmpty else { throw .unheldWriters(disk, plan.unheld) }
            return plan
        } catch {
            throw .freezing(error)
        }
    }

    var isDue: Bool { true }

    func settle() {
        // An error comes again when they are frozen.
        do throws(LiveError) { try Self.plan(disk, ours).settle() } catch {}
    }

    func begin(limit: Int64) throws(LiveError) {
        // What is mounted may have changed since the job began.
        let plan = try Self.plan(disk, ours)
        let freeze: Freeze
        do throws(FreezeError) {
            freeze = try Freeze.begin(plan, limitNanoseconds: limit)
        } catch {
            throw .freezing(state.withLock { $0.note(error) })
        }
        state.withLock { state in
            state.freeze = freeze
            state.evidence = .frozen(plan.filesystems.map(\.description), 0)
        }
    }

    var isHeld: Bool { state.withLock { $0.freeze }?.isHeld ?? false }

    func isStillHeld() -> Bool {
        state.withLock { $0.freeze }?.isStillFrozen() ?? false
    }

    func end() -> LiveError? {
        guard let freeze = state.withLock({ $0.freeze.take() }) else { return nil }
        let span = freeze.thaw()
        state.withLock { state in
            guard case .frozen(let names, _) = state.evidence else { return }
            state.evidence = .frozen(names, span.nanoseconds)
        }
        guard !span.stillFrozen.isEmpty else { return nil }
        return .freezing(.stillFrozen(span.stillFrozen))
    }

    var evidence: LiveProof.Hold? { state.withLock { $0.evidence } }
}

/// Nothing has the disk mounted or open for writing any more.
final class UnusedDisk: WriterHold {
    private let watch: DiskUseWatch
    /// When it was looked at last, and what was found: a look reads all of proc.
    private let last = Mutex<(time: Int64, isUnused: Bool)>((.min, false))

    init(_ disk: FilePath) throws(LiveError) {
        do throws(FreezeError) { watch = try DiskUseWatch(disk) } catch {
            throw .freezing(error)
        }
    }

    private var isUnused: Bool { watch.users().isEmpty }

    var isDue: Bool {
        last.withLock { last in
            let now = Clock.now
            if last.time == .min || now - last.time > 500_000_000 {
                last = (now, isUnused)
            }
            return last.isUnused
        }
    }
    func begin(limit: Int64) {}
    func isStillHeld() -> Bool { isUnused }
    func end() -> LiveError? { nil }
    var evidence: LiveProof.Hold? { .unused }
}

/// What a caller does to stop the writers.
final class StoppedWriters: WriterHold {
    private let stop: @Sendable () -> String?
    private let haveStopped = Atomic<Bool>(false)

    /// - Parameter stop: stops them, and returns when they have stopped; a text says why it could
    ///   not. It is called once: they stay as they are.
    init(_ stop: @escaping @Sendable () -> String?) { self.stop = stop }

    var isDue: Bool { true }

    func begin(limit: Int64) throws(LiveError) {
        guard !haveStopped.load(ordering: .acquiring) else { return }
        if let why = stop() { throw .notStopped(why) }
        haveStopped.store(true, ordering: .releasing)
    }

    func isStillHeld() -> Bool { true }
    func end() -> LiveError? { nil }
    var evidence: LiveProof.Hold? { .stopped }
}
