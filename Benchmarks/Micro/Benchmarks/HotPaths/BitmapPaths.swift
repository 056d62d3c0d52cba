import Benchmark
import DirtyBitmap
import Ring

private let diskSize: Int64 = 1 << 40

/// Where 1000 writes of 1 MiB went: all over the disk, in no order, none across its end.
private let writes: [Range<Int64>] = (0..<1000).map { index in
    // 61 has no factor in common with 1000, so that no place comes twice.
    let start = Int64(index * 61 % 1000) * (diskSize / 1000)
    return start..<(start + 1 << 20)
}

/// A bitmap with every 1024th granule dirty.
private func sparse(_ granularity: Granularity = .default) -> DirtyBitmap {
    var bitmap = DirtyBitmap(size: diskSize, granularity: granularity)
    for start in stride(from: 0, to: diskSize, by: Int(granularity.bytes) << 10) {
        bitmap.set(start..<(start + 1))
    }
    return bitmap
}

final class BitmapSearch: HotPath {
    private let bitmap = DirtyBitmap(size: diskSize)

    func run() { blackHole(bitmap.nextDirty(from: 0)) }
}

final class BitmapVisit: HotPath {
    private let bitmap = sparse()

    func run() {
        var bytes: Int64 = 0
        bitmap.forEachDirtyRun { bytes += Int64($0.count) }
        precondition(bytes == diskSize >> 10)
    }
}

final class BitmapSet: HotPath {
    private var bitmap = DirtyBitmap(size: diskSize)

    func run() {
        for range in writes { bitmap.set(range) }
        blackHole(bitmap.isDirty(at: 0))
    }
}

final class BitmapMerge: HotPath {
    private var bitmap = DirtyBitmap(size: diskSize)
    private let other: DirtyBitmap

    init(granularity: Granularity) throws { other = sparse(granularity) }

    func run() throws {
        try bitmap.merge(other)
        blackHole(bitmap.isDirty(at: 0))
    }
}

final class AtomicSet: HotPath {
    private let bitmap: AtomicBitmap

    init() throws { bitmap = try AtomicBitmap(size: diskSize) }

    func run() {
        for range in writes { bitmap.set(range) }
    }
}

final class AtomicDrain: HotPath {
    private let marks: AtomicBitmap
    private var bitmap = DirtyBitmap(size: diskSize)

    init() throws { marks = try AtomicBitmap(size: diskSize) }

    func prepare() {
        for range in writes { marks.set(range) }
    }

    func run() { precondition(marks.drain(into: &bitmap)) }
}

final class ZeroScan: HotPath {
    private let slab: BufferSlab

    init() throws {
        slab = try BufferSlab(byteCount: BufferSlab.alignment)
        // Memory that was never written to is one page of zeros, which the caches always hold.
        slab.clear(0..<slab.byteCount)
    }

    func run() { precondition(slab.isZero(0..<(512 << 10))) }
}
