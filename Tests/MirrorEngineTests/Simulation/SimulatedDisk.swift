import Foundation
import TestSupport

/// A disk in memory, with a volatile write cache and faults on demand.
///
/// A write is visible to reads at once, and becomes durable only when a flush succeeds that was
/// submitted after the write had completed. A flush that fails drops what it should have kept, as
/// Linux does: the next one succeeds and saves nothing of it.
///
/// All threads of a job use it; everything is behind one lock.
final class SimulatedDisk: @unchecked Sendable {
    static let sectorSize = 512

    /// Bytes that can't be transferred.
    struct Fault {
        enum Direction: Hashable { case read, write, zeroing }

        var bytes: Range<Int>
        var directions: Set<Direction>
        var code: CInt = EIO
        /// How many requests still fail; nil for all that will ever come.
        var triesLeft: Int?
        /// Reads succeed, and these bytes of them are wrong.
        var corrupts = false
        /// A disk that remaps sectors gives a new one to the first write.
        var healsOnWrite = false
    }

    /// How flushes end.
    enum Flushing { case succeed, failOnce, failAlways }

    private struct CachedWrite {
        let id: UInt64
        let offset: Int
        let bytes: [UInt8]
        /// When its completion was handed out; nil while it is in flight.
        var completedAt: UInt64?
    }

    private let lock = NSLock()
    private var visible: [UInt8]
    private var durable: [UInt8]
    private var cached: [CachedWrite] = []
    private var isHole: [Bool]
    private var clock: UInt64 = 0
    private var active: [UInt64: Range<Int>] = [:]
    private var faults: [Fault] = []
    private var zeroingCodes: (punch: CInt, zeroRange: CInt) = (0, 0)
    private var spaceLeft: Int?
    private var flushing = Flushing.succeed
    private var isGone = false
    private var goodFlush: UInt64 = 0

    init(_ bytes: [UInt8], holes: [Range<Int>] = []) {
        visible = bytes.zeroing(holes)
        durable = visible
        isHole = Array(repeating: false, count: (bytes.count + 511) / Self.sectorSize)
        for hole in holes { markHole(hole) }
    }

    // MARK: what tests do to it

    func add(_ fault: Fault) { lock.withLock { faults.append(fault) } }

    /// Punching and zeroing end with these errnos; 0 lets them succeed.
    func refuseZeroing(punch: CInt, zeroRange: CInt) {
        lock.withLock { zeroingCodes = (punch, zeroRange) }
    }

    func limitSpace(to bytes: Int) { lock.withLock { spaceLeft = bytes } }

    func makeRoom() { lock.withLock { spaceLeft = nil } }

    func setFlushing(_ flushing: Flushing) { lock.withLock { self.flushing = flushing } }

    /// The disk is pulled out.
    func vanish() { lock.withLock { isGone = true } }

    /// Repairs whatever an operator could repair: bad sectors and missing space.
    func heal() {
        lock.withLock {
            faults.removeAll()
            spaceLeft = nil
        }
    }

    /// The power fails: of what was not flushed, each sector survives or is lost by the seed.
    func cutPower(using random: inout SeededGenerator) {
        lock.withLock {
            for write in cached {
                let fate = Int.random(in: 0..<3, using: &random)
                if fate == 0 { continue }
                var start = 0
                while start < write.bytes.count {
                    let offset = write.offset + start
                    let sectorEnd = (offset / Self.sectorSize + 1) * Self.sectorSize
                    let end = min(sectorEnd - write.offset, write.bytes.count)
                    if fate == 1 || random.chance(percent: 50) {
                        Self.copy(write.bytes, start..<end, to: &durable, at: write.offset)
                    }
                    start = end
                }
            }
            cached.removeAll()
            visible = durable
            for sector in isHole.indices { isHole[sector] = false }
        }
    }

    // MARK: what tests ask it

    var visibleBytes: [UInt8] { lock.withLock { visible } }
    var durableBytes: [UInt8] { lock.withLock { durable } }
    var initialSize: Int { lock.withLock { visible.count } }
    var currentSize: Int { lock.withLock { isGone ? 0 : visible.count } }

    /// Whether a hole begins at `offset`, and how far what begins there goes.
    func content(at offset: Int, limit: Int) -> (isZero: Bool, end: Int) {
        lock.withLock {
            let kind = isHole[offset / Self.sectorSize]
            var sector = offset / Self.sectorSize + 1
            while sector * Self.sectorSize < limit, isHole[sector] == kind { sector += 1 }
            return (kind, min(sector * Self.sectorSize, limit))
        }
    }

    // MARK: what a map does to it by itself

    /// Writes bytes, which a flush from now on keeps.
    func fill(at offset: Int, _ bytes: [UInt8]) {
        lock.withLock {
            clock += 1
            apply(0, offset, bytes)
            for index in cached.indices where cached[index].id == 0 {
                cached[index].completedAt = min(cached[index].completedAt ?? clock, clock)
            }
        }
    }

    /// Says of zeros that they are a hole.
    func makeHole(at offset: Int, count: Int) {
        lock.withLock { markHole(offset..<(offset + count)) }
    }

    /// A moment: a flush that is submitted from now on is `lastFlush` later than it.
    func mark() -> UInt64 {
        lock.withLock {
            clock += 1
            return clock
        }
    }

    /// When the last flush that succeeded was submitted.
    var lastFlush: UInt64 { lock.withLock { goodFlush } }

    // MARK: requests

    /// Notes that bytes are about to be changed; false if another request is changing some of them.
    func beginChange(_ id: UInt64, _ range: Range<Int>) -> Bool {
        lock.withLock {
            let overlaps = active.values.contains { $0.overlaps(range) }
            active[id] = range
            return !overlaps
        }
    }

    var isChanging: Bool { lock.withLock { !active.isEmpty } }

    /// The request's completion is handed out: the next flush has to keep what it wrote.
    func endChange(_ id: UInt64) {
        lock.withLock {
            active[id] = nil
            clock += 1
            for index in cached.indices where cached[index].id == id {
                cached[index].completedAt = clock
            }
        }
    }

    /// The request will never complete, and may have been carried out.
    func forget(_ id: UInt64) { lock.withLock { active[id] = nil } }

    func read(
        at offset: Int, into memory: UnsafeMutableRawBufferPointer,
        using random: inout SeededGenerator
    ) -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        if isGone { return 0 }
        var end = min(offset + memory.count, visible.count)
        guard offset < end else { return 0 }
        if let index = fault(.read, offset..<end) {
            // A file system gives what is before the bad sector, a disk often nothing.
            let good = faults[index].bytes.lowerBound & ~(Self.sectorSize - 1)
            guard good > offset && random.chance(percent: 50) else { return fail(index) }
            end = good
        }
        visible.withUnsafeBytes { memory.copyMemory(from: .init(rebasing: $0[offset..<end])) }
        for fault in faults where fault.corrupts && fault.bytes.overlaps(offset..<end) {
            for byte in fault.bytes.clamped(to: offset..<end) { memory[byte - offset] ^= 0xFF }
        }
        return Int32(end - offset)
    }

    func write(
        _ id: UInt64, at offset: Int, _ bytes: UnsafeRawBufferPointer,
        using random: inout SeededGenerator
    ) -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        if isGone { return -ENOSPC }
        var count = bytes.count
        guard offset + count <= visible.count else { return -EFBIG }
        if let left = spaceLeft {
            if left < count { count = left & ~(Self.sectorSize - 1) }
            guard count > 0 else { return -ENOSPC }
            spaceLeft = left - count
        }
        if let index = fault(.write, offset..<(offset + count)) {
            let good = max(0, (faults[index].bytes.lowerBound & ~511) - offset)
            // What precedes the bad sector may be on the disk although the request failed.
            if good > 0 && random.chance(percent: 70) {
                apply(id, offset, Array(bytes[..<good]))
                if random.chance(percent: 50) { return Int32(good) }
            }
            return fail(index)
        }
        faults.removeAll { $0.healsOnWrite && $0.bytes.overlaps(offset..<(offset + count)) }
        apply(id, offset, Array(bytes[..<count]))
        return Int32(count)
    }

    /// Zeroes a range as fallocate does, which never makes the file larger.
    func zero(_ id: UInt64, at offset: Int, count: Int, isPunch: Bool) -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        if isGone { return -ENOSPC }
        let code = isPunch ? zeroingCodes.punch : zeroingCodes.zeroRange
        if code != 0 { return -code }
        let end = min(offset + count, visible.count)
        guard offset < end else { return 0 }
        if let index = fault(.zeroing, offset..<end) { return fail(index) }
        apply(id, offset, [UInt8](repeating: 0, count: end - offset))
        if isPunch { markHole(offset..<end) }
        return 0
    }

    /// What a flush that is submitted now has to keep.
    var flushMark: UInt64 { mark() }

    func flush(upTo mark: UInt64) -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        if losesWrites() { return -EIO }
        for write in cached where (write.completedAt ?? .max) <= mark {
            Self.copy(write.bytes, 0..<write.bytes.count, to: &durable, at: write.offset)
        }
        cached.removeAll { ($0.completedAt ?? .max) <= mark }
        goodFlush = max(goodFlush, mark)
        return 0
    }

    /// Writes go to the storage, which says nothing about power cuts. What is lost by it is told
    /// here, and to no flush that comes later, with whatever errno the filesystem has for it.
    func writeBack(losingWith code: CInt) -> Int32 {
        lock.lock()
        defer { lock.unlock() }
        return losesWrites() ? -code : 0
    }

    // MARK: the rest, with the lock held

    private func losesWrites() -> Bool {
        guard isGone || flushing != .succeed else { return false }
        if flushing == .failOnce { flushing = .succeed }
        cached.removeAll()
        return true
    }

    private func fault(_ direction: Fault.Direction, _ range: Range<Int>) -> Int? {
        faults.firstIndex {
            !$0.corrupts && $0.directions.contains(direction) && $0.bytes.overlaps(range)
        }
    }

    private func fail(_ index: Int) -> Int32 {
        let code = faults[index].code
        if let tries = faults[index].triesLeft {
            faults[index].triesLeft = tries - 1
            if tries <= 1 { faults.remove(at: index) }
        }
        return -code
    }

    private func apply(_ id: UInt64, _ offset: Int, _ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        Self.copy(bytes, 0..<bytes.count, to: &visible, at: offset)
        cached.append(CachedWrite(id: id, offset: offset, bytes: bytes))
        let last = (offset + bytes.count - 1) / Self.sectorSize
        for sector in (offset / Self.sectorSize)...last { isHole[sector] = false }
    }

    /// Only whole sectors become holes, and the last one whole if the disk ends in it.
    private func markHole(_ range: Range<Int>) {
        let first = (range.lowerBound + Self.sectorSize - 1) / Self.sectorSize
        let end =
            range.upperBound == visible.count ? isHole.count : range.upperBound / Self.sectorSize
        for sector in first..<max(first, end) { isHole[sector] = true }
    }

    /// Copies a part of `bytes`, whose first byte belongs at `offset`.
    private static func copy(
        _ bytes: [UInt8], _ part: Range<Int>, to target: inout [UInt8], at offset: Int
    ) {
        bytes.withUnsafeBytes { source in
            target.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(
                    rebasing: target[offset + part.lowerBound..<target.count]
                )
                .copyMemory(from: .init(rebasing: source[part]))
            }
        }
    }
}
