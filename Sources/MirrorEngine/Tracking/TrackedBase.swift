internal import DirtyBitmap
internal import KernelTracking

/// The tracker that vouches for the bitmap with which an incremental live mirror began.
///
/// When its marks were taken the disk was in use, and a write in flight may have hidden that
/// another was not seen. That shows when the writers are held back.
struct TrackedBase: Sendable {
    private let name: String
    private let id: TrackerID
    let granularity: Granularity

    /// - Parameter tracker: has a name, by which others may use it meanwhile.
    init?(_ tracker: DiskTracker) {
        guard let name = tracker.name else { return nil }
        self.name = name
        id = tracker.id
        granularity = tracker.granularity
    }

    enum Finding {
        /// Of all that was written before its marks were taken, none is missing.
        case whole
        /// Something may be missing, which is marked here with all that is marked there.
        case marks
        /// Writes were in flight all the time, or something else used the tracker.
        case busy
    }

    /// Looks at the tracker, while nothing is written.
    ///
    /// - Parameter bits: gets the marks, for `.marks`.
    /// - Throws: if something was lost.
    func check(limit: Duration, into bits: inout DirtyBitmap) throws(LiveError) -> Finding {
        let start = Clock.now
        let tracker: DiskTracker
        do throws(TrackingError) {
            tracker = try DiskTracker.open(name: name, patience: limit)
        } catch .noSuchTracker {
            throw .lost(.detached)
        } catch .inUse {
            return .busy
        } catch {
            throw .tracking(error)
        }
        guard tracker.id == id else { throw .lost(.detached) }
        let rest = limit - .nanoseconds(Clock.now - start)
        switch tracker.waitUntilIdle(limit: rest) {
        case .idle: break
        case .busy: return .busy
        case .lostCompletion:
            tracker.read(into: &bits)
            return .marks
        }
        let losses: [TrackingLoss]
        do throws(TrackingError) { losses = try tracker.losses() } catch { throw .tracking(error) }
        if let loss = losses.first { throw .lost(loss) }
        return .whole
    }
}
