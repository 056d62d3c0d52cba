import BlockStorage
import DirtyBitmap
import MirrorEngine

/// A worker's part in handing out 1000 runs: 100 are out at once.
final class Dispensing: HotPath {
    private let dispenser: RunDispenser
    private var out: [Run] = []

    /// Runs of a granule each, with `gap` clean granules between them.
    init(granule: Int64, gap: Int64) throws {
        let stretch = granule * (1 + gap)
        let source = DataMap(size: 1000 * stretch)
        let granularity = try Granularity(bytes: granule)
        var pattern = DirtyBitmap(size: source.size, granularity: granularity)
        for start in stride(from: 0, to: source.size, by: Int(stretch)) {
            pattern.set(start..<(start + granule))
        }
        dispenser = RunDispenser(
            working: DirtyBitmap(size: source.size, granularity: granularity), source: source,
            blockSize: 4096, slots: 100, arrivals: Refill(pattern: pattern))
        out.reserveCapacity(100)
    }

    func prepare() { precondition(dispenser.beginPass() > 0) }

    func run() throws {
        for _ in 0..<10 {
            while out.count < 100 {
                guard let run = try dispenser.next(dataLimit: 512 << 10, zeroLimit: 1 << 30)
                else { preconditionFailure("there are fewer runs than were marked") }
                out.append(run)
            }
            for run in out { dispenser.complete(run.range) }
            out.removeAll(keepingCapacity: true)
        }
        precondition(dispenser.isClean)
    }
}

/// Makes a pass as dirty as the one before was.
private final class Refill: ChangeSource {
    private let pattern: DirtyBitmap

    init(pattern: consuming DirtyBitmap) { self.pattern = pattern }

    func drain(into bits: inout DirtyBitmap) { bits.merge(sameSize: pattern) }
    func quiesce() {}
    func resume() {}
}

/// A disk without holes.
private struct DataMap: SourceMap {
    let size: Int64
    let name = "data"
    let endpoints: [Endpoint] = []
    let alignment = 4096
    let unit: Int64 = 1
    let compressedLengthMax = 0

    func sizeChange() -> SizeChange? { nil }

    func content(at offset: Int64) -> StorageExtent {
        StorageExtent(range: 0..<size, content: .data)
    }

    func locate(at offset: Int64, limit: Int64) -> SourcePlace {
        preconditionFailure("nothing is read here")
    }
}
