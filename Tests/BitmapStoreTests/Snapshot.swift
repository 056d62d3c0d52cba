import BlockStorage
import DirtyBitmap

@testable import BitmapStore

/// Everything a store says, without where it says it.
struct Snapshot: Equatable, CustomStringConvertible {
    struct Bitmap: Equatable {
        var name: String
        var state: BitmapState
        var bits: ModelBits
        var targets: [Target] = []
    }

    struct Target: Equatable {
        var name: String
        var lacked: ModelBits
        var isMirror: Bool
        /// Nil: none.
        var witness: Int?
    }

    struct Job: Equatable {
        var id: UInt64
        var bitmap: String?
        var bitmapMode: BitmapMode
        var target: String
        var isOpen: Bool
        var taken: ModelBits?
        var remaining: ModelBits
        var marked: ModelBits?
        var witness: Int?
        var isUnrecorded = false
    }

    var bitmaps: [Bitmap] = []
    /// Those of an image, with what was settled of them.
    var imageBitmaps: [Bitmap] = []
    var jobs: [Job] = []
    var recorded: [String] = []

    /// Reads all of a file, every page, as a new process would.
    static func read(_ disk: MemoryDisk) throws(BitmapStoreError) -> Snapshot {
        let file = MemoryFile(disk, isWritable: false)
        let generation = try Generation.load(file, known: nil)
        let reader = BitReader(file: file, tables: generation.tables)
        let catalog = generation.catalog
        var snapshot = Snapshot()
        for entry in catalog.bitmaps {
            snapshot.bitmaps.append(
                Bitmap(
                    name: entry.name, state: entry.state, bits: try bits(entry.bits, reader),
                    targets: try targets(ofBitmap: entry.id, catalog, reader)))
        }
        for entry in catalog.imageBitmaps {
            snapshot.imageBitmaps.append(
                Bitmap(
                    name: entry.name, state: .recording, bits: try bits(entry.settled, reader),
                    targets: try targets(ofBitmap: entry.id, catalog, reader)))
        }
        for entry in catalog.jobs {
            snapshot.jobs.append(
                Job(
                    id: entry.id, bitmap: catalog.reference(toBitmapNumbered: entry.bitmap)?.name,
                    bitmapMode: entry.bitmapMode, target: entry.targetPath, isOpen: entry.isOpen,
                    taken: try bitsIfAny(entry.taken, reader),
                    remaining: try bits(entry.remaining, reader),
                    marked: try bitsIfAny(entry.marked, reader),
                    witness: number(entry.targetWitness), isUnrecorded: entry.isUnrecorded))
        }
        snapshot.recorded = catalog.recorders.compactMap {
            catalog.reference(toBitmapNumbered: $0.bitmap)?.name
        }
        return snapshot
    }

    private static func targets(
        ofBitmap id: UInt64, _ catalog: Catalog, _ reader: BitReader
    ) throws(BitmapStoreError) -> [Target] {
        var result: [Target] = []
        for target in catalog.targets where target.bitmap == id {
            result.append(
                Target(
                    name: target.path, lacked: try bits(target.lacked, reader),
                    isMirror: target.success != nil, witness: number(target.witness)))
        }
        return result
    }

    private static func number(_ witness: [WriteWitness]) -> Int? {
        witness.first?.modified.map { Int($0) }
    }

    private static func bitsIfAny(
        _ tree: BitTree?, _ reader: BitReader
    ) throws(BitmapStoreError) -> ModelBits? {
        guard let tree else { return nil }
        return try bits(tree, reader)
    }

    private static func bits(
        _ tree: BitTree, _ reader: BitReader
    ) throws(BitmapStoreError) -> ModelBits {
        ModelBits(try reader.load(tree))
    }

    var description: String {
        ((bitmaps + imageBitmaps).map {
            (["\($0.name) \($0.state) \($0.bits)"]
                + $0.targets.map {
                    "  of \($0.name) lacked \($0.lacked) mirror \($0.isMirror) "
                        + "witness \($0.witness ?? 0)"
                }).joined(separator: "\n")
        }
            + jobs.map {
                "job \($0.id) on \($0.bitmap ?? "-") \($0.bitmapMode) to \($0.target) "
                    + "open \($0.isOpen) T \($0.taken?.description ?? "-") R \($0.remaining) "
                    + "M \($0.marked?.description ?? "-") witness \($0.witness ?? 0) "
                    + "unrecorded \($0.isUnrecorded)"
            }
            + recorded.map { "recorder of \($0)" }).joined(separator: "\n")
    }
}

extension ModelBits {
    init(_ bitmap: borrowing DirtyBitmap) {
        self.init(size: Int(bitmap.size), shift: bitmap.granularity.shift)
        bitmap.forEachDirtyRun { run in set(Int(run.lowerBound)..<Int(run.upperBound)) }
    }

    /// The same bits as the store's users know them.
    func bitmap() -> DirtyBitmap {
        var result = DirtyBitmap(
            size: Int64(size), granularity: try! Granularity(bytes: 1 << Int64(shift)))
        for granule in bits.indices where bits[granule] {
            let range = bytes(of: granule)
            result.set(Int64(range.lowerBound)..<Int64(range.upperBound))
        }
        return result
    }
}

/// A made-up disk, told by its serial.
func disk(_ serial: String, size: Int) -> DeviceIdentity {
    var identity = DeviceIdentity(size: Int64(size))
    identity.deviceNumber = DeviceNumber(major: 8, minor: 0)
    identity.model = "model"
    identity.serial = serial
    return identity
}

/// A target that was written for the `number`th time.
func witness(_ number: Int) -> [WriteWitness] {
    [WriteWitness(size: 1, modified: Int64(number), statusChanged: nil, counters: nil)]
}

func openStore(_ disk: MemoryDisk) throws(BitmapStoreError) -> BitmapStore {
    try BitmapStore.open(
        MemoryFile(disk), for: nil, holder: JobHolder(pid: 1, command: "test", startedAt: 5),
        clock: { 1000 })
}

func makeStore(_ device: DeviceIdentity) throws(BitmapStoreError) -> (MemoryDisk, BitmapStore) {
    let disk = MemoryDisk()
    try BitmapStore.format(MemoryFile(disk), for: device)
    return (disk, try openStore(disk))
}

extension StoredJob {
    /// What is asked of the store to go on with the job.
    func again(_ change: (inout JobRequest) -> Void) -> JobRequest {
        var request = JobRequest(
            mode: mode, bitmap: bitmap, bitmapMode: bitmapMode, source: source,
            sourcePath: sourcePath, target: target, targetPath: targetPath)
        change(&request)
        return request
    }
}
