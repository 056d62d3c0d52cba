internal import BlockStorage
internal import DirtyBitmap
internal import KernelTracking
internal import Synchronization
internal import SystemPackage

/// The writes to a disk in use, as the kernel tells them, and what holds the writers back.
///
/// The moment is proven by the tracker, whatever holds the writers back: nothing is in flight, no
/// event was lost, and nothing is marked that was not copied and flushed.
final class KernelChanges: ChangeSource {
    private let tracker: DiskTracker
    private let hold: any WriterHold
    private let maxPause: Int64
    private let state = Mutex(State())

    private struct State: ~Copyable {
        /// How often something arrived although the writers are held back.
        var arrivals = 0
        var proof: LiveProof?
        /// What vouches for the bitmap that the job began with; nil: it began with everything.
        var base: TrackedBase?
        /// What the base may have missed, and has to be drained.
        var missed: DirtyBitmap?
    }

    /// So often something may arrive behind the beginning of a hold before it counts as none.
    private static var arrivalsMax: Int { 8 }

    /// Begins to track a disk that is to be mirrored. The tracker ends with this object.
    ///
    /// - Parameter store: what the job may write while the writers are held back; nil: nothing.
    init(
        _ request: LiveRequest, of source: Disk, storeAt store: FilePath?
    ) throws(MirrorError) {
        guard source.image == nil, source.device.kind == .disk else {
            throw .live(.notADisk(source.path))
        }
        let disk = FilePath(source.resolvedPath)
        maxPause = request.maxPause
        do throws(LiveError) {
            switch request.hold {
            case .freeze:
                hold = try FrozenFilesystems(disk, ours: request.ours + (store.map { [$0] } ?? []))
            case .untilUnused: hold = try UnusedDisk(disk)
            case .stop(let stop): hold = StoppedWriters(stop)
            }
            tracker = try Self.start(disk, source.geometry.size, hold, maxPause)
        } catch {
            throw .live(error)
        }
    }

    /// Begins to track a disk. Where it is written all the time, its filesystems are frozen for a
    /// moment, if they will be anyway: what is in flight is exact from then on.
    private static func start(
        _ disk: FilePath, _ size: Int64, _ hold: any WriterHold, _ maxPause: Int64
    ) throws(LiveError) -> DiskTracker {
        // What is written in small pieces is not copied in large ones. At most 32 MiB of marks.
        let granularity = Granularity(finestForSize: size, bitsMax: 1 << 28)
        guard hold.canHoldForAMoment else {
            do throws(TrackingError) {
                return try DiskTracker.start(disk, granularity: granularity)
            } catch { throw .tracking(error) }
        }
        do throws(TrackingError) {
            let tracker = try DiskTracker.start(
                disk, granularity: granularity, patience: .milliseconds(200))
            if tracker.hasBeenAtRest { return tracker }
        } catch .tooBusy {
            // It comes to rest below.
        } catch {
            throw .tracking(error)
        }
        try hold.begin(limit: maxPause)
        let started = Result { () throws(TrackingError) in
            try DiskTracker.start(disk, granularity: granularity)
        }
        if let error = hold.end() { throw error }
        do throws(TrackingError) { return try started.get() } catch { throw .tracking(error) }
    }

    /// What the user should know before the job begins, in sentences.
    var warnings: [String] { hold.warnings }

    var granularity: Granularity { tracker.granularity }

    /// Whether the writers can be held back, as far as that does not depend on the job.
    var isDue: Bool { hold.isDue }

    /// Whether the writers are held back, as far as that can be told without waiting.
    var isHeld: Bool { hold.isHeld }

    /// What is dirty in `bits` and was not written since the last drain, which this is as well.
    func takeWritten(outOf bits: borrowing DirtyBitmap) -> DirtyBitmap {
        var written = DirtyBitmap(size: bits.size, granularity: bits.granularity)
        drain(into: &written)
        var rest = bits.copy()
        rest.subtract(sameSize: written)
        return rest
    }

    /// What was proven last; nil: nothing yet.
    var proof: LiveProof? {
        state.withLock { state in
            state.proof.map { proof in
                var proof = proof
                proof.hold = hold.evidence ?? proof.hold
                return proof
            }
        }
    }

    /// The job begins with what a tracker has marked, and not with everything.
    func rest(on base: TrackedBase?) { state.withLock { $0.base = base } }

    func drain(into bits: inout DirtyBitmap) {
        state.withLock { state in
            guard let missed = state.missed.take() else { return }
            bits.merge(sameSize: missed)
        }
        if tracker.take(into: &bits) { state.withLock { $0.arrivals += 1 } }
    }

    /// In this order: a write that ended before the first look has left its marks by the second.
    var isAtRest: Bool { tracker.inFlightBytes == 0 && tracker.isClean }

    func settle() { hold.settle() }

    func quiesce() throws(MirrorError) {
        do throws(LiveError) { try hold.begin(limit: maxPause) } catch { throw .live(error) }
        state.withLock { $0.arrivals = 0 }
        // What does not come to rest now shows when the moment is to be proven.
        _ = tracker.waitUntilIdle(limit: .nanoseconds(maxPause))
    }

    func provenMoment() throws(MirrorError) -> HoldState {
        guard hold.isStillHeld() else { return .released }
        switch tracker.waitUntilIdle(limit: .nanoseconds(maxPause)) {
        case .idle: break
        case .lostCompletion: return .arrived
        case .busy:
            state.withLock { $0.arrivals += 1 }
            return hasComeTooOften ? .released : .arrived
        }
        try requireNothingLost()
        guard try isBaseWhole() else { return hasComeTooOften ? .released : .arrived }
        // In this order: what was written before the last look at the hold is seen here, if it was
        // written at all.
        let isHeld = hold.isStillHeld()
        guard tracker.isClean, tracker.inFlightBytes == 0 else {
            return isHeld && !hasComeTooOften ? .arrived : .released
        }
        guard isHeld else { return .released }
        state.withLock {
            $0.proof = LiveProof(hold: hold.evidence ?? .stopped, moment: Clock.secondsSince1970)
        }
        return .proven
    }

    private var hasComeTooOften: Bool { state.withLock { $0.arrivals > Self.arrivalsMax } }

    /// Whether nothing is missing in the marks that the job began with. What may be, is drained
    /// next.
    private func isBaseWhole() throws(MirrorError) -> Bool {
        guard let base = state.withLock({ $0.base }) else { return true }
        var bits = DirtyBitmap(size: tracker.size, granularity: base.granularity)
        let finding: TrackedBase.Finding
        do throws(LiveError) {
            finding = try base.check(limit: .nanoseconds(maxPause), into: &bits)
        } catch {
            throw .live(error)
        }
        if finding == .whole { return true }
        state.withLock { state in
            state.arrivals += 1
            if finding == .marks { state.missed = bits.copy() }
        }
        return false
    }

    private func requireNothingLost() throws(MirrorError) {
        let losses = try tracking { () throws(TrackingError) in try tracker.losses() }
        if let loss = losses.first { throw .live(.lost(loss)) }
    }

    func resume() -> MirrorError? { hold.end().map { .live($0) } }
}
