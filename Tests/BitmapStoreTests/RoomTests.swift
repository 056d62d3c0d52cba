import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// What could not be read again is not written, and what there is no room for is refused where it
/// comes in.
@Suite struct RoomTests {
    private let size = 4096

    private func refusal(_ body: () throws -> Void) -> String? {
        do { try body() } catch { return (error as? BitmapStoreError)?.caseName ?? "\(error)" }
        return nil
    }

    private func request(_ bitmap: BitmapReference?, to target: String = "t") -> JobRequest {
        var request = JobRequest(
            mode: bitmap == nil ? .full : .incremental, bitmap: bitmap,
            source: disk("source", size: size), sourcePath: "s", target: disk(target, size: size),
            targetPath: FilePath(target))
        request.allowsUnknownTarget = true
        return request
    }

    /// What no catalog may say.
    private static let flaws: [@Sendable (inout Catalog) -> Void] = [
        { $0.bitmaps[0].name = "a\tb" },
        { $0.bitmaps[0].name = "" },
        { $0.bitmaps[0].name = String(repeating: "x", count: 1024) },
        { $0.bitmaps[0].name = $0.bitmaps[1].name },
        { $0.nextID = 1 },
        { $0.nextID = Catalog.idMax + 1 },
        { $0.device.size = -1 },
        { $0.device.size += 1 },
        { $0.jobs[0].bitmap = 77 },
        { $0.jobs[0].marked = nil },
        { $0.jobs.append($0.jobs[0]) },
        { $0.jobs[0].source.size = -1 },
        { $0.targets.append($0.targets[0]) },
        { $0.targets[0].lacked.dirtyBytes = -1 },
        { $0.bitmaps[0].bits.tables.append(.clean) },
        { $0.recorders.append(RecorderEntry(id: 77, bitmap: 1, holder: $0.jobs[0].holder)) },
    ]

    @Test(arguments: 0..<16)
    func `what would be refused when it is read is refused before it counts`(index: Int) throws {
        let (disk, store) = try makeStore(disk("source", size: size))
        try store.add("a")
        try store.add("b")
        try store.beginJob(request(.stored("a"))).finish(.success)
        let job = try store.beginJob(request(.stored("a"), to: "u"))
        let before = Array(disk.content[..<(2 * blockBytes)])
        #expect(
            refusal { try store.transact { Self.flaws[index](&$0.catalog) } } == "unwritable")
        #expect(Array(disk.content[..<(2 * blockBytes)]) == before)
        // The store goes on as if nothing had been.
        try job.finish(.success)
        #expect(try openStore(disk).bitmaps().map(\.name) == ["a", "b"])
    }

    @Test func `the last generation that can be is not written over`() throws {
        let (disk, _) = try makeStore(disk("source", size: size))
        var superblock = try Generation.load(MemoryFile(disk), known: nil).superblock
        superblock.generation = .max - 1
        var bytes = disk.content
        for slot in 0..<Superblock.slotCount {
            bytes.replaceSubrange(
                slot * blockBytes..<slot * blockBytes + Superblock.byteCount,
                with: superblock.encoded())
        }
        let last = MemoryDisk(content: bytes)
        let store = try openStore(last)
        #expect(refusal { try store.add("a") } == "unwritable")
        #expect(try openStore(last).generation == .max - 1)
    }

    @Test func `a bitmap in an image whose name the store can't have is refused by that`() throws {
        let (disk, store) = try makeStore(disk("source", size: size))
        let marks = DirtyBitmap(size: Int64(size), granularity: .default)
        for name in ["a\tb", "", "\u{7f}", String(repeating: "x", count: 1024)] {
            let found = refusal {
                _ = try store.beginJob(request(.image(name)), imageMarks: marks.copy())
            }
            #expect(found == "invalidName")
            try store.willClear(imageBitmap: name, marks: marks)
        }
        #expect(try openStore(disk).jobs().isEmpty)
        _ = try store.beginJob(
            request(.image(String(repeating: "x", count: 1023))), imageMarks: marks.copy())
        #expect(try openStore(disk).imageBitmaps().count == 1)
    }

    /// A store that is full, by filling its catalog at once.
    ///
    /// - Parameters:
    ///   - jobs: interrupted ones on the first bitmap.
    ///   - recorders: of the bitmaps behind it.
    ///   - targets: of the first bitmap.
    private func fill(
        bitmaps: Int, images: Int, jobs: Int, recorders: Int, targets: Int
    ) throws -> (MemoryDisk, BitmapStore) {
        let (disk, store) = try makeStore(disk("source", size: size))
        try store.add("0", granularity: .min)
        let job = try store.beginJob(request(.stored("0"), to: "job"))
        try job.finish(.failure)
        try store.transact { transaction in
            var catalog = transaction.catalog
            let bitmap = catalog.bitmaps[0]
            let job = catalog.jobs[0]
            catalog.jobs = (0..<jobs).map { _ in catalog.copy(job) }
            for number in 1..<max(bitmaps, 1) {
                catalog.bitmaps.append(
                    BitmapEntry(
                        id: catalog.takeID(), name: "\(number)", state: .recording, createdAt: 0,
                        bits: bitmap.bits))
            }
            for number in 0..<recorders {
                catalog.recorders.append(
                    RecorderEntry(
                        id: catalog.takeID(), bitmap: catalog.bitmaps[number + 1].id,
                        holder: job.holder))
            }
            for number in 0..<targets {
                // Those of the images' bitmaps first, so that they are kept.
                var id = bitmap.id
                if number < images {
                    id = catalog.takeID()
                    catalog.imageBitmaps.append(
                        ImageBitmapEntry(id: id, name: "\(number)", settled: bitmap.bits))
                }
                catalog.targets.append(
                    TargetEntry(
                        bitmap: id, identity: BitmapStoreTests.disk("\(number)", size: size),
                        path: "\(number)", lacked: bitmap.bits, success: nil, witness: []))
            }
            transaction.catalog = catalog
        }
        return (disk, store)
    }

    private func count(_ disk: MemoryDisk) throws -> [Int] {
        let catalog = try Generation.load(MemoryFile(disk), known: nil).catalog
        return [
            catalog.bitmaps.count, catalog.imageBitmaps.count, catalog.jobs.count,
            catalog.recorders.count, catalog.targets.count,
        ]
    }

    @Test
    func `the fullest store can be read, and each command says what there is no room for`() throws {
        let (disk, store) = try fill(
            bitmaps: 4096, images: 4096, jobs: 4000, recorders: 96, targets: 8192)
        let full = [4096, 4096, 4000, 96, 8192]
        #expect(try count(disk) == full)
        let marks = DirtyBitmap(size: Int64(size), granularity: .min)
        let id = try #require(try store.jobs().first?.id)
        let refusals = [
            refusal { try store.add("more") },
            refusal { _ = try store.record("4095") },
            refusal { _ = try store.beginJob(request(.stored("0"), to: "more")) },
            refusal { _ = try store.beginJob(request(nil, to: "more")) },
            refusal {
                _ = try store.beginJob(request(.image("more")), imageMarks: marks.copy())
            },
            refusal { _ = try store.resumeJob(id) },
        ]
        #expect(refusals == Array(repeating: "tooManyBitmaps", count: refusals.count))
        #expect(try count(disk) == full)
    }

    @Test func `each running job has room for the target that it may end with`() throws {
        let (disk, store) = try fill(
            bitmaps: 3, images: 0, jobs: 1, recorders: 0, targets: Catalog.targetsMax - 2)
        let id = try #require(try store.jobs().first?.id)
        let resumed = try store.resumeJob(id)
        let other = try store.beginJob(request(.stored("1"), to: "other"))
        #expect(
            refusal { _ = try store.beginJob(request(.stored("2"), to: "more")) }
                == "tooManyBitmaps")
        try resumed.finish(.success)
        try other.finish(.success)
        #expect(try count(disk).last == Catalog.targetsMax)
    }
}

extension Catalog {
    fileprivate mutating func copy(_ job: JobEntry) -> JobEntry {
        JobEntry(
            id: takeID(), mode: job.mode, bitmap: job.bitmap, bitmapMode: job.bitmapMode,
            source: job.source, sourcePath: job.sourcePath, sourceWitness: job.sourceWitness,
            target: job.target, targetPath: job.targetPath, targetWitness: job.targetWitness,
            startedAt: job.startedAt, checkpointedAt: job.checkpointedAt, planned: job.planned,
            isOpen: job.isOpen, holder: job.holder, taken: job.taken, remaining: job.remaining,
            marked: job.marked, isUnrecorded: job.isUnrecorded)
    }
}
