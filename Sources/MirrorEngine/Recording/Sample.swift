internal import BlockStorage
internal import DirtyBitmap
internal import QCOW2
internal import Ring
internal import Synchronization

/// Compares small blocks of both sides where a job will not copy, before it writes.
///
/// A disk that was written between two jobs shows it nowhere, nor does a target that another mirror
/// has written over. A sample does not prove that all is well, but what was changed in many places
/// is found.
///
/// A few threads read with plain calls, because making a ring takes longer than these reads.
final class Sample: Sendable {
    /// Places all over the disk, one in each of as many equal parts.
    private static let places = 64
    /// What tells disks apart is at their beginning: partition tables, superblocks.
    private static let startBytes: Int64 = 1 << 20
    private static let startPiece: Int64 = 64 << 10
    private static let startPieces = Int(startBytes / startPiece)
    /// Stretches that are passed on the way to one with data.
    private static let stepsMax = 32
    private static let readers = 16

    private let source, target: Disk
    private let pair: PairMap
    /// What will be copied.
    private let remaining: DirtyBitmap
    private let block: Int64
    private let next = Atomic(0)
    private let found = Mutex(Found())

    struct Found {
        /// Places that could be read on both sides, and are not known to be zeros on both.
        var places = 0
        /// The first offset found where both sides differ.
        var difference: Int64?
    }

    /// - Parameter remaining: what will be copied; all else is to be the same.
    static func compare(
        _ source: Disk, _ target: Disk, without remaining: consuming DirtyBitmap
    ) -> Found {
        guard remaining.size > 0 else { return Found() }
        let sample = Sample(source, target, without: remaining)
        // Threads that can't be had are not missed: each takes what is left.
        let threads = (1..<readers).compactMap { _ in WorkerThread { sample.work() } }
        sample.work()
        for thread in threads { thread.join() }
        return sample.found.withLock { $0 }
    }

    private init(
        _ source: Disk, _ target: Disk, without remaining: consuming DirtyBitmap
    ) {
        self.source = source
        self.target = target
        let size = remaining.size
        self.remaining = remaining
        pair = PairMap(source.sourceMap(size: size), target.sourceMap(size: size))
        block = Int64(
            max(4096, source.geometry.offsetAlignment, target.geometry.offsetAlignment))
    }

    private var size: Int64 { remaining.size }

    private func work() {
        while true {
            let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard number < Self.startPieces + Self.places else { return }
            do throws(StorageError) {
                guard let place = try place(number) else { continue }
                try compare(place)
            } catch {
                // What can't be read is not counted: the claim says how many places were the same.
            }
        }
    }

    private func compare(_ place: Range<Int64>) throws(StorageError) {
        let length = Int(place.upperBound - place.lowerBound)
        let left = try source.read(at: place.lowerBound, count: length)
        let right = try target.read(at: place.lowerBound, count: length)
        // Behind the end of the disk, a file may have anything.
        let count = min(left.count, right.count, Int(clamping: size - place.lowerBound))
        var difference: Int64?
        if left != right {
            difference = (0..<count).first { index in
                left[index] != right[index]
                    && !remaining.isDirty(at: place.lowerBound + Int64(index))
            }.map { place.lowerBound + Int64($0) }
        }
        found.withLock { found in
            found.places += 1
            if let difference { found.difference = min(found.difference ?? .max, difference) }
        }
    }

    /// Whole blocks of which a part is not copied; nil if there are none, or both sides are known
    /// to be zeros there.
    private func place(_ number: Int) throws(StorageError) -> Range<Int64>? {
        number < Self.startPieces
            ? try startPlace(number) : try place(inPart: number - Self.startPieces)
    }

    private func startPlace(_ number: Int) throws(StorageError) -> Range<Int64>? {
        let start = Int64(number) * Self.startPiece
        guard start < size, let clean = remaining.nextClean(from: start),
            clean < start + Self.startPiece
        else { return nil }
        let extent = try pair.content(at: clean)
        let isZero =
            extent.content == .zero
            && extent.range.upperBound >= min(size, start + Self.startPiece)
        return isZero ? nil : start..<start + Self.startPiece
    }

    /// A block in one of the equal parts, or, if there are only zeros, in data that comes after it.
    private func place(inPart part: Int) throws(StorageError) -> Range<Int64>? {
        let length = max(1, size / Int64(Self.places))
        let start = min(size - 1, Int64(part) * length + Int64.random(in: 0..<length))
        var cursor = start
        for _ in 0..<Self.stepsMax {
            guard let clean = remaining.nextClean(from: cursor) ?? remaining.nextClean(from: 0)
            else { return nil }
            let extent = try pair.content(at: clean)
            if extent.content == .data {
                let end = min(extent.range.upperBound, remaining.nextDirty(from: clean) ?? size)
                let pick = clean == start ? start : Int64.random(in: clean..<end)
                let first = pick / block * block
                return first..<first + block
            }
            cursor = extent.range.upperBound < size ? extent.range.upperBound : 0
        }
        return nil
    }
}

extension Disk {
    /// A few bytes as the disk has them now, from the offset on; fewer only at its end. The offset
    /// is one at which direct requests may begin.
    fileprivate func read(at offset: Int64, count: Int) throws(StorageError) -> [UInt8] {
        if let image { return try image.read(at: offset, count: count) }
        return try device.read(at: offset, count: count)
    }
}
