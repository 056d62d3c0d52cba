internal import BlockStorage
internal import DirtyBitmap

/// The directory of a store in memory: everything but the bits.
struct Catalog: Equatable, Sendable {
    var device: DeviceIdentity
    /// Given to the next bitmap, job or recorder; numbers are never given twice.
    var nextID: UInt64 = 1
    var bitmaps: [BitmapEntry] = []
    var jobs: [JobEntry] = []
    var recorders: [RecorderEntry] = []

    static let bitmapsMax = 4096
    static let jobsMax = 4096
    /// The kernel's file offsets end at 2^63, and jobs lock the byte 2^62 + id.
    static let idMax: UInt64 = 1 << 61

    func index(ofBitmap name: String) -> Int? { bitmaps.firstIndex { $0.name == name } }

    func bitmap(_ id: UInt64) -> BitmapEntry? { bitmaps.first { $0.id == id } }

    /// Every tree of bits there is.
    var trees: [BitTree] {
        bitmaps.map(\.bits)
            + jobs.flatMap { [$0.taken, $0.remaining, $0.marked].compactMap(\.self) }
    }

    mutating func takeID() -> UInt64 {
        defer { nextID += 1 }
        return nextID
    }
}

struct BitmapEntry: Equatable, Sendable {
    let id: UInt64
    var name: String
    var state: BitmapState
    var createdAt: Int64
    var bits: BitTree
    var lastSuccess: LastSuccess?
}

struct JobEntry: Equatable, Sendable {
    let id: UInt64
    var mode: JobMode
    var bitmap: UInt64?
    var bitmapMode: BitmapMode
    var source: DeviceIdentity
    var sourcePath: String
    /// When the source was last written, in nanoseconds since 1970; nil where nobody knows.
    var sourceModified: Int64?
    var target: DeviceIdentity
    var targetPath: String
    var startedAt: Int64
    var checkpointedAt: Int64?
    var planned: Int64
    /// Whether its end has yet to be worked into the bitmap. It runs if its lock is held, too.
    var isOpen: Bool
    var holder: JobHolder
    /// The copy of the bitmap at the start, or what a `full` or `top` job works on; nil without a
    /// bitmap.
    var taken: BitTree?
    /// Not known to be durable on the target.
    var remaining: BitTree
    /// Marked in the bitmap while this record exists; nil without a bitmap.
    var marked: BitTree?
}

/// Somebody who keeps marks in memory, and owes them to the bitmap.
struct RecorderEntry: Equatable, Sendable {
    let id: UInt64
    let bitmap: UInt64
    var holder: JobHolder
}
