import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// What was taken on trust of a target stays in doubt until all of it was copied or compared.
@Suite struct DoubtTests {
    private typealias Kind = TargetDoubt.Kind

    private static let size = 8 * 512

    private func store(_ names: String...) throws -> (MemoryDisk, BitmapStore) {
        let (disk, store) = try makeStore(disk("source", size: Self.size))
        for name in names { try store.add(name, granularity: .min) }
        return (disk, store)
    }

    private func request(
        _ mode: JobMode, _ bitmap: String?, _ bitmapMode: BitmapMode = .onSuccess,
        to target: String = "x", doubts: Set<Kind> = []
    ) -> JobRequest {
        var request = JobRequest(
            mode: mode, bitmap: bitmap.map { .stored($0) }, bitmapMode: bitmapMode,
            source: disk("source", size: Self.size), sourcePath: "s",
            target: disk(target, size: Self.size), targetPath: FilePath(target))
        request.doubts = doubts
        return request
    }

    /// As a new process finds them.
    private func doubts(_ disk: MemoryDisk, _ bitmap: String = "b") throws -> [TargetDoubt] {
        let target = try openStore(disk).target(
            BitmapStoreTests.disk("x", size: Self.size), of: .stored(bitmap))
        return try #require(target).doubts
    }

    private func kinds(_ disk: MemoryDisk, _ bitmap: String = "b") throws -> [Kind] {
        try doubts(disk, bitmap).map(\.kind)
    }

    @Test func `a new overlay has what its base lacks, and its doubts`() throws {
        let (disk, store) = try store("b")
        try store.beginJob(request(.incremental, "b")).finish(.success)
        try store.mark("b", [512..<1024])
        var taking = request(.incremental, "b", to: "y")
        taking.allowsUnknownTarget = true
        try store.beginJob(taking).finish(.success)
        var overlay = request(.incremental, "b", to: "z")
        overlay.heldContent = BitmapStoreTests.disk("x", size: Self.size)
        let job = try store.beginJob(overlay)
        #expect(job.record.planned == 512)
        try job.finish(.success)
        let made = try openStore(disk).target(
            BitmapStoreTests.disk("z", size: Self.size), of: .stored("b"))
        let target = try #require(made)
        #expect(target.lackedBytes == 0)
        #expect(target.doubts.map(\.kind) == [.assumed])
        #expect(try kinds(disk) == [.assumed])
    }

    @Test func `times that show nothing are kept as such`() throws {
        let (disk, store) = try store("b")
        let seen = WriteWitness(size: 1, modified: 2, timesShowWrites: false)
        try store.beginJob(request(.full, "b")).finish(.success, targetWitness: [seen])
        let target = try openStore(disk).target(
            BitmapStoreTests.disk("x", size: Self.size), of: .stored("b"))
        #expect(try #require(target).witness == [seen])
    }

    @Test func `a target known without proof is in doubt after any number of increments`() throws {
        let (disk, store) = try store("b")
        var first = request(.incremental, "b")
        first.samplePlaces = 64
        try store.beginJob(first).finish(.success)
        let assumed = try doubts(disk)
        #expect(assumed.map(\.kind) == [.assumed])
        #expect(assumed.map(\.samplePlaces) == [64] && assumed.map(\.time) == [1000])
        try store.beginJob(request(.incremental, "b")).finish(.success)
        #expect(try doubts(disk) == assumed)
        // One that was seen later joins it, the same one again does not.
        try store.beginJob(request(.incremental, "b", doubts: [.unseen])).finish(.success)
        try store.beginJob(request(.incremental, "b", doubts: [.unseen])).finish(.success)
        #expect(try kinds(disk) == [.assumed, .unseen])
        #expect(try doubts(disk).first == assumed.first)
        try store.beginJob(request(.full, "b")).finish(.success)
        #expect(try kinds(disk) == [])
    }

    @Test
    func `where a job has died, what is written after the next one is seen by others too`() throws {
        let (disk, store) = try store("b", "c")
        let looks = (1...4).map { WriteWitness(size: 1, modified: $0) }
        try store.beginJob(request(.full, "b")).finish(.success, targetWitness: [looks[0]])
        var other = request(.incremental, "c")
        other.targetWitness = [looks[0]]
        let id = try store.beginJob(other).record.id
        other.targetWitness = [looks[1]]
        let next = try openStore(disk).resumeJob(id, other)
        try next.finish(.success, targetWitness: [looks[2]])
        let found = try openStore(disk).target(
            BitmapStoreTests.disk("x", size: Self.size), of: .stored("b"))
        let target = try #require(found)
        #expect(target.witness == [looks[2]] && target.doubts.map(\.kind) == [.unseen])
    }

    @Test
    func `who answers for a target is remembered, and no other target is in doubt for it`() throws {
        let (disk, store) = try store("b")
        try store.beginJob(request(.full, "b", to: "y")).finish(.success)
        var vouched = request(.incremental, "b")
        vouched.allowsUnknownTarget = true
        try store.beginJob(vouched).finish(.success)
        #expect(try kinds(disk) == [.vouched])
        let others = try store.targets(of: .stored("b")).filter { $0.path == "y" }
        #expect(others.map(\.doubts) == [[]])
        // To allow it again says nothing new of a target that is known.
        try store.beginJob(request(.full, "b")).finish(.success)
        try store.beginJob(vouched).finish(.success)
        #expect(try kinds(disk) == [])
    }

    @Test func `a bitmap in an image remembers it too`() throws {
        let (disk, store) = try store()
        let marks = DirtyBitmap(size: Int64(Self.size), granularity: .min)
        var first = request(.incremental, nil)
        first.bitmap = .image("b")
        try store.beginJob(first, imageMarks: marks.copy()).finish(.success)
        try store.beginJob(first, imageMarks: marks.copy()).finish(.success)
        let target = try openStore(disk).targets(of: .image("b"))[0]
        #expect(target.doubts.map(\.kind) == [.assumed])
    }

    @Test
    func `a proof, and no other job, ends every doubt of all bitmaps with the target`() throws {
        let (disk, store) = try store("b", "c")
        for name in ["b", "c"] {
            try store.beginJob(request(.incremental, name)).finish(.success)
        }
        try store.beginJob(request(.incremental, "b")).finish(.failure)
        #expect(try kinds(disk) == [.assumed])
        try store.beginJob(request(.incremental, "b")).finish(.success, isProven: true)
        #expect(try kinds(disk) == [] && kinds(disk, "c") == [])
    }

    @Test(arguments: [true, false])
    func `a full mirror that rests on a promise is in doubt of that alone`(isRecorded: Bool) throws
    {
        let (disk, store) = try store("b", "c")
        for name in ["b", "c"] {
            try store.beginJob(request(.incremental, name)).finish(.success)
        }
        let full = request(.full, isRecorded ? "b" : nil, doubts: [.zeros])
        if isRecorded {
            try store.beginJob(full).finish(.success)
        } else {
            try store.noteUnrecordedJob(full, .success, targetWitness: [])
        }
        #expect(try kinds(disk) == [.zeros] && kinds(disk, "c") == [.zeros])
        try store.noteUnrecordedJob(
            request(.incremental, nil), .success, targetWitness: [])
        #expect(try kinds(disk) == [.zeros])
        try store.noteUnrecordedJob(full, .success, targetWitness: [], isProven: true)
        #expect(try kinds(disk) == [] && kinds(disk, "c") == [])
    }

    @Test(arguments: [true, false])
    func `a job that ends halfway leaves its doubt behind`(dies: Bool) throws {
        let (disk, store) = try store("b")
        try store.mark("b", [0..<1024])
        var job: StoreJob? = try store.beginJob(
            request(.incremental, "b", .always, doubts: [.touched]))
        if !dies { try job?.finish(.failure) }
        job = nil
        #expect(try kinds(disk) == [.assumed, .touched], "what reading says")
        try store.mark("b", [])
        try store.setRecording("b", true)
        #expect(try kinds(disk) == [.assumed, .touched], "what a writing command makes of it")
    }

    @Test func `a job that is resumed takes its doubts along, and gets more`() throws {
        let (disk, store) = try store("b")
        try store.mark("b", [0..<1024])
        let id = try store.beginJob(request(.incremental, "b")).record.id
        let again = try openStore(disk)
        #expect(try again.jobs().map { $0.doubts.map(\.kind) } == [[.assumed]])
        let doubtful = try #require(try again.jobs().first).again { $0.doubts = [.unseen] }
        try again.resumeJob(id, doubtful).finish(.success)
        #expect(try kinds(disk) == [.assumed, .unseen])
    }

    @Test
    func `a target that turned out to differ is copied whole, which leaves no doubt`() throws {
        let (disk, store) = try store("b")
        try store.beginJob(request(.incremental, "b")).finish(.success)
        try store.beginJob(request(.incremental, "b")).giveUp(
            targetWitness: [], doubts: [.unseen], isDistrusted: true)
        #expect(try kinds(disk) == [])
        #expect(try store.jobs().isEmpty)
        #expect(try store.targets(of: .stored("b"))[0].lackedBytes == Int64(Self.size))
    }

    @Test(arguments: JobMode.allCases)
    func `what was not recorded is in doubt, unless all was copied`(mode: JobMode) throws {
        guard mode != .top else { return }
        let (_, store) = try store("b")
        try store.beginJob(request(mode, "b")).finish(.success, isProven: true)
        let stopped = try store.beginJob(request(mode, "b"))
        try stopped.finish(.failure)
        let catalog = try store.look { view throws(BitmapStoreError) in view.catalog }
        let found = try Catalog(decoding: catalog.encoded())
        #expect(found == catalog)
        let earlier = try Catalog(decoding: try withoutDoubts(catalog.encoded()))
        let expected: [Kind] = mode == .full ? [] : [.unrecorded]
        #expect(earlier.targets.map { $0.doubts.map(\.kind) } == [expected])
        #expect(earlier.targets.flatMap(\.doubts).allSatisfy { $0.time == 1000 })
        #expect(earlier.jobs.map { $0.doubts.map(\.kind) } == [expected])
    }

    /// The directory without the fields that tell doubts.
    private func withoutDoubts(_ bytes: [UInt8]) throws -> [UInt8] {
        var result = FieldWriter()
        for entry in try FieldReader(bytes[...]).fields {
            let doubts: UInt16? = [6: 7, 3: 21][entry.tag]
            var fields = FieldWriter()
            for field in try FieldReader(entry.value).fields where field.tag != doubts {
                fields.put(field.tag, Array(field.value), flags: field.flags)
            }
            result.put(entry.tag, fields.bytes, flags: entry.flags)
        }
        return result.bytes
    }

    @Test
    func `one doubt twice, a time that can't be and a sample that can't be are refused`() throws {
        let (_, store) = try store("b")
        try store.beginJob(request(.incremental, "b")).finish(.success)
        let catalog = try store.look { view throws(BitmapStoreError) in view.catalog }
        for doubts in [
            [TargetDoubt(.zeros, at: 1), TargetDoubt(.zeros, at: 2)],
            [TargetDoubt(.zeros, at: .max)],
            [TargetDoubt(.zeros, samplePlaces: TargetDoubt.placesMax + 1, at: 1)],
        ] {
            var broken = catalog
            broken.targets[0].doubts = doubts
            let bytes = broken.encoded()
            #expect(throws: FieldError.self) { _ = try Catalog(decoding: bytes) }
        }
    }

    @Test func `each doubt is a phrase of its own, with its day and its sample`() {
        let texts = Kind.allCases.map { TargetDoubt($0, samplePlaces: 64, at: 1_700_000_000).text }
        #expect(Set(texts).count == Kind.allCases.count)
        #expect(texts.allSatisfy { $0.hasPrefix("on 2023-11-14 22:13:20 UTC ") })
        #expect(TargetDoubt(.assumed, samplePlaces: 64, at: nil).text.contains("64 places"))
    }
}
