import DirtyBitmap
import Foundation
import TestSupport

@testable import MirrorEngine

/// Who writes a simulated source while it is mirrored, and tells of it. A write is submitted, lands
/// and completes in three steps; it is marked at the first and the last. It writes whenever a
/// worker turns to its queue, at moments and places of a seed's choice, until it is held back.
final class LivingSource: ChangeSource, @unchecked Sendable {
    private let source: SimulatedMap
    private let marks: AtomicBitmap
    private let lock = NSLock()
    private var random: SeededGenerator
    private var ever: DirtyBitmap
    private var writesLeft: Int
    private var isHeld = false
    private var timesHeld = 0
    /// The source at the moment at which the writers were last found held back, and whether all
    /// that they had written was heard by then.
    private(set) var proven: [UInt8] = []
    private(set) var wasAllHeard = true
    /// So many of the first times when they are held back, they are let go too early.
    var cutShort: Int
    private let percent: Int
    private var pending: [PendingWrite] = []
    private let losesEvents: Bool
    private var hasLostEvent = false
    /// Called when a job may call its target ready.
    var whenAtRest: (() -> Void)?
    /// Called when they were let go: what it returns holds them back still.
    var whenReleased: (() -> MirrorError?)?
    /// Called when they are to be held back, before they are. It may block, or throw.
    var whenHeld: (() throws(MirrorError) -> Void)?

    private struct PendingWrite {
        let range: Range<Int64>
        let disk: Int
        let offset: Int
        let isZero: Bool
        let seed: UInt64
        var hasLanded = false
    }

    init(_ source: SimulatedMap, granularity: Granularity, seed: UInt64) throws {
        self.source = source
        random = SeededGenerator(seed: seed ^ 0x11FE)
        marks = try AtomicBitmap(size: source.size, granularity: granularity)
        ever = DirtyBitmap(size: source.size, granularity: granularity)
        writesLeft = Int.random(in: 1...60, using: &random)
        cutShort = random.chance(percent: 25) ? Int.random(in: 1...3, using: &random) : 0
        losesEvents = random.chance(percent: 30)
        percent = [5, 30, 80].randomElement(using: &random)!
    }

    /// All that was written since the beginning.
    var written: DirtyBitmap {
        lock.lock()
        defer { lock.unlock() }
        return ever.copy()
    }

    private var isAllHeard: Bool { marks.isClean && pending.isEmpty && !hasLostEvent }

    /// What is in flight, or has ended and the kernel has not told: where nobody can know yet
    /// whether it was copied. Not while a job runs.
    var unsure: DirtyBitmap {
        var bits = DirtyBitmap(size: source.size, granularity: marks.granularity)
        for write in pending { bits.set(write.range) }
        if hasLostEvent { bits.merge(sameSize: ever) }
        return bits
    }

    /// What was told and nobody has heard yet. Not while a job runs.
    var unheard: DirtyBitmap {
        var bits = DirtyBitmap(size: source.size, granularity: marks.granularity)
        marks.drain(into: &bits)
        bits.forEachDirtyRun { marks.set($0) }
        return bits
    }

    /// Something is written that ends before the writers are held back.
    func write(_ range: Range<Int64>) { marks.set(range) }

    /// The writers may do something now.
    func act() { lock.withLock { actLocked() } }

    private func actLocked() {
        guard !isHeld, source.size > 0, random.chance(percent: percent) else { return }
        if !pending.isEmpty, random.chance(percent: 60) {
            return advance(Int.random(in: 0..<pending.count, using: &random))
        }
        guard writesLeft > 0, pending.count < 8 else { return }
        writesLeft -= 1
        submit()
    }

    /// A write is marked when it is submitted.
    private func submit() {
        let unit = Int64(512)
        let start = Int64.random(in: 0..<source.size, using: &random) / unit * unit
        let (place, end) = source.piece(at: start)
        guard case .stored = place.form else { return }
        let count = min(end - start, unit * Int64.random(in: 1...64, using: &random))
        let range = start..<(start + count)
        // Those that overlap come one after the other: which of two that are in flight wins, nobody
        // knows.
        guard !pending.contains(where: { $0.range.overlaps(range) }) else { return }
        marks.set(range)
        ever.set(range)
        pending.append(
            PendingWrite(
                range: range, disk: place.disk, offset: Int(place.offset),
                isZero: random.chance(percent: 25), seed: random.next()))
    }

    /// Then it changes what reads return, and in the end it has completed, and is marked again
    /// before its writer is told. The kernel may fail to tell of that.
    private func advance(_ index: Int) {
        let write = pending[index]
        guard write.hasLanded else { return land(index) }
        pending.remove(at: index)
        if losesEvents, random.chance(percent: 10) {
            hasLostEvent = true
        } else {
            marks.set(write.range)
        }
    }

    private func land(_ index: Int) {
        let write = pending[index]
        pending[index].hasLanded = true
        let count = write.range.count
        let bytes =
            write.isZero
            ? [UInt8](repeating: 0, count: count) : [UInt8].pattern(count, seed: write.seed)
        source.disks[write.disk].fill(at: write.offset, bytes)
        if write.isZero, random.chance(percent: 50) {
            source.disks[write.disk].makeHole(at: write.offset, count: count)
        }
    }

    func drain(into bits: inout DirtyBitmap) {
        // A job that only waits asks for this and does nothing else.
        for _ in 0..<20 { act() }
        marks.drain(into: &bits)
    }

    var isAtRest: Bool {
        lock.withLock {
            guard pending.isEmpty, !hasLostEvent, marks.isClean else { return false }
            whenAtRest?()
            return true
        }
    }

    /// Whether all that was to be written has been. Nothing can be to a disk of no bytes.
    var isOver: Bool { lock.withLock { writesLeft == 0 || source.size == 0 } }

    /// The writers go on meanwhile.
    func settle() { for _ in 0..<5 { act() } }

    func quiesce() throws(MirrorError) {
        try whenHeld?()
        lock.withLock {
            isHeld = true
            timesHeld += 1
            while !pending.isEmpty { advance(pending.count - 1) }
            // That the books do not balance is all that tells of it.
            if hasLostEvent { ever.forEachDirtyRun { marks.set($0) } }
            hasLostEvent = false
        }
    }

    /// A watchdog may have let the writers go.
    func provenMoment() -> HoldState {
        lock.withLock {
            // Who was let go is not held back.
            guard timesHeld > cutShort, isHeld else {
                isHeld = false
                return .released
            }
            proven = source.bytes()
            wasAllHeard = isAllHeard
            return .proven
        }
    }

    func resume() -> MirrorError? {
        lock.withLock { isHeld = false }
        return whenReleased?()
    }

    var isQuiet: Bool { lock.withLock { isHeld } }
}
