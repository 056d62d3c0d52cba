internal import BlockStorage
internal import DirtyBitmap

/// The directory of a store in memory: everything but the bits.
struct Catalog: Equatable, Sendable {
    var device: DeviceIdentity
    /// Given to the next bitmap, job or recorder; numbers are never given twice.
    var nextID: UInt64 = 1
    var bitmaps: [BitmapEntry] = []
    /// Bitmaps that the image itself keeps, as far as they have targets or jobs here.
    var imageBitmaps: [ImageBitmapEntry] = []
    /// Those of one bitmap in the order of their last success, the newest last.
    var targets: [TargetEntry] = []
    var jobs: [JobEntry] = []
    var recorders: [RecorderEntry] = []

    static let bitmapsMax = 4096
    static let jobsMax = 4096
    /// Of all bitmaps together.
    static let targetsMax = 8192
    /// The kernel's file offsets end at 2^63, and jobs lock the byte 2^62 + id.
    static let idMax: UInt64 = 1 << 61

    func index(ofBitmap name: String) -> Int? { bitmaps.firstIndex { $0.name == name } }

    /// Every tree of bits there is.
    var trees: [BitTree] {
        bitmaps.map(\.bits) + imageBitmaps.map(\.settled) + targets.map(\.lacked)
            + jobs.flatMap { [$0.taken, $0.remaining, $0.marked].compactMap(\.self) }
    }

    /// Whether there is nothing that a store would be kept for.
    var isEmpty: Bool {
        bitmaps.isEmpty && imageBitmaps.isEmpty && jobs.isEmpty && recorders.isEmpty
    }

    /// Forgets bitmaps in images of which nothing is left that could be told.
    mutating func prune() {
        imageBitmaps.removeAll { bitmap in
            bitmap.history.isWhole && !targets.contains { $0.bitmap == bitmap.id }
                && !jobs.contains { $0.bitmap == bitmap.id }
        }
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
    var history = BitmapHistory()
}

/// A bitmap that lives in the image whose store this is.
struct ImageBitmapEntry: Equatable, Sendable {
    let id: UInt64
    let name: String
    /// Its marks when they were last read or cleared from here. The image can only have more of
    /// them; if it has not, something else has cleared the bitmap or made it anew.
    var settled: BitTree
    var history = BitmapHistory()
}

/// A disk or image that a bitmap's jobs have written, and which is known therefore.
struct TargetEntry: Equatable, Sendable {
    /// The number of the bitmap.
    let bitmap: UInt64
    var identity: DeviceIdentity
    var path: String
    /// All that it lacks beyond the bitmap's marks, in the bitmap's granularity. It may repeat
    /// some of the marks: what counts is both together.
    var lacked: BitTree
    /// Nil: it was never a mirror, but what it lacks is known.
    var success: TargetSuccess?
    /// How it was left by the last job that found it as it had to be; empty: nobody knows.
    var witness: [WriteWitness]
    /// What of it was taken on trust since all of it was last copied or compared, one of each kind.
    var doubts: [TargetDoubt] = []
}

/// A job that made a mirror of its target.
struct TargetSuccess: Equatable, Sendable {
    /// Seconds since 1970.
    var time: Int64
    var bytesCopied: Int64
    var mode: JobMode
    /// The source when the job ended; empty: nobody knows.
    var sourceWitness: [WriteWitness]
}

struct JobEntry: Equatable, Sendable {
    let id: UInt64
    var mode: JobMode
    var bitmap: UInt64?
    var bitmapMode: BitmapMode
    var source: DeviceIdentity
    var sourcePath: String
    /// The source when the job began or was last resumed; empty: nobody knows.
    var sourceWitness: [WriteWitness]
    var target: DeviceIdentity
    var targetPath: String
    /// The target when the job began, was resumed or ended; empty: nobody knows.
    var targetWitness: [WriteWitness]
    /// How many of the target's files it writes, the first ones; nil: all.
    var writtenFiles: Int?
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
    /// Whether the bitmap took no marks for a time since the job began, so that `marked` may not
    /// have all that was written.
    var isUnrecorded: Bool
    /// What it takes on trust of its target, one of each kind.
    var doubts: [TargetDoubt] = []

    /// How its target's files count while it runs, and if it dies: what else writes one that it
    /// only reads shows still.
    var unfinishedWitness: [WriteWitness] {
        targetWitness.enumerated().map { (index, before) in
            index < writtenFiles ?? .max ? .unknown : before
        }
    }
}

/// Somebody who keeps marks in memory, and owes them to the bitmap.
struct RecorderEntry: Equatable, Sendable {
    let id: UInt64
    let bitmap: UInt64
    var holder: JobHolder
    /// What keeps them in the kernel; nil: the process does that holds the recorder's lock.
    var tracker: StoredTracker?
    /// The tracker's number of the last merge of its marks.
    var merges: UInt64 = 0
}
