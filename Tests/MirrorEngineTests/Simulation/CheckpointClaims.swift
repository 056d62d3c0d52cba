import DirtyBitmap
import Foundation

/// Holds every checkpoint to its word at the moment it is kept: what it does not call dirty is on
/// the target's stable storage. That can only get truer later.
final class CheckpointClaims: @unchecked Sendable {
    private let lock = NSLock()
    private let planned: DirtyBitmap
    private let living: LivingSource?
    private var count = 0
    private var broken: Int64?

    /// - Parameter living: who writes the source; of what they wrote a checkpoint says nothing.
    init(planned: consuming DirtyBitmap, _ living: LivingSource?) {
        self.planned = planned
        self.living = living
    }

    /// How many checkpoints were kept.
    var kept: Int { lock.withLock { count } }

    /// Where a checkpoint claimed what was not so.
    var firstBroken: Int64? { lock.withLock { broken } }

    func check(
        _ remaining: borrowing DirtyBitmap, _ source: SimulatedMap, _ target: any SimulatedTarget
    ) {
        var claimed = planned.copy()
        do { try claimed.subtract(remaining) } catch { claimed.setAll() }
        let held = target.bytes(durable: true)
        let bytes = source.bytes()
        if let living {
            do { try claimed.subtract(living.written) } catch { claimed.clearAll() }
        }
        let difference = held.firstDifference(from: bytes) {
            start, _ in claimed.isDirty(at: Int64(start))
        }
        lock.withLock {
            count += 1
            broken = broken ?? difference
        }
    }
}
