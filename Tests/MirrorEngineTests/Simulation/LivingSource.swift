import DirtyBitmap
import Foundation
import TestSupport

@testable import MirrorEngine

/// Who writes a simulated source while it is mirrored, and tells of it: marked when a write is
/// submitted and when it has completed. It writes whenever a worker turns to its queue, at moments
/// and places of a seed's choice, until it is held back.
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
    private let cutShort: Int
    private let percent: Int

    init(_ source: SimulatedMap, granularity: Granularity, seed: UInt64) throws {
        self.source = source
        random = SeededGenerator(seed: seed ^ 0x11FE)
        marks = try AtomicBitmap(size: source.size, granularity: granularity)
        ever = DirtyBitmap(size: source.size, granularity: granularity)
        writesLeft = Int.random(in: 1...60, using: &random)
        cutShort = random.chance(percent: 25) ? Int.random(in: 1...3, using: &random) : 0
        percent = [5, 30, 80].randomElement(using: &random)!
    }

    /// All that was written since the beginning.
    var written: DirtyBitmap {
        lock.lock()
        defer { lock.unlock() }
        return ever.copy()
    }

    private var isAllHeard: Bool { marks.isClean }

    /// What was told and nobody has heard yet. Not while a job runs.
    var unheard: DirtyBitmap {
        var bits = DirtyBitmap(size: source.size, granularity: marks.granularity)
        marks.drain(into: &bits)
        bits.forEachDirtyRun { marks.set($0) }
        return bits
    }

    /// The writers may do something now.
    func act() {
        lock.withLock {
            guard !isHeld, writesLeft > 0, random.chance(percent: percent), source.size > 0
            else { return }
            writesLeft -= 1
            write()
        }
    }

    private func write() {
        let unit = Int64(512)
        let start = Int64.random(in: 0..<source.size, using: &random) / unit * unit
        let (place, end) = source.piece(at: start)
        guard case .stored = place.form else { return }
        let count = min(end - start, unit * Int64.random(in: 1...64, using: &random))
        let range = start..<(start + count)
        let isZero = random.chance(percent: 25)
        let bytes =
            isZero
            ? [UInt8](repeating: 0, count: Int(count))
            : [UInt8].pattern(Int(count), seed: random.next())
        marks.set(range)
        ever.set(range)
        source.disks[place.disk].fill(at: Int(place.offset), bytes)
        if isZero, random.chance(percent: 50) {
            source.disks[place.disk].makeHole(at: Int(place.offset), count: Int(count))
        }
        marks.set(range)
    }

    func drain(into bits: inout DirtyBitmap) { marks.drain(into: &bits) }

    func quiesce() {
        lock.withLock {
            isHeld = true
            timesHeld += 1
        }
    }

    /// A watchdog may have let the writers go.
    func provenMoment() -> HoldState {
        lock.withLock {
            guard timesHeld > cutShort else {
                isHeld = false
                return .released
            }
            proven = source.bytes()
            wasAllHeard = isAllHeard
            return .proven
        }
    }

    func resume() { lock.withLock { isHeld = false } }

    var isQuiet: Bool { lock.withLock { isHeld } }
}
