import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// The table of docs/bitmap-store.md in figures: eight granules, written as eight digits.
@Suite struct SemanticsTests {
    enum End: String, CaseIterable { case success, failure, death }

    /// What a bitmap of 11110000 is in the end, if granules 1 and 6 were marked during the job and
    /// granules 0 and 1 were durable at its checkpoint.
    private static let table: [(BitmapMode, End, bits: String)] = [
        (.onSuccess, .success, "01000010"),
        (.onSuccess, .failure, "11110010"),
        (.onSuccess, .death, "11110010"),
        (.never, .success, "11110010"),
        (.never, .failure, "11110010"),
        (.never, .death, "11110010"),
        (.always, .success, "01000010"),
        (.always, .failure, "01110010"),
        (.always, .death, "01110010"),
    ]

    private func begin(_ mode: BitmapMode) throws -> (BitmapStore, StoreJob) {
        let (_, store) = try makeStore(disk("source", size: 8 * 512))
        try store.add("b", granularity: .min)
        try store.mark("b", [0..<4 * 512])
        let job = try store.beginJob(
            JobRequest(
                mode: .incremental, bitmap: .stored("b"), bitmapMode: mode,
                source: try store.device(),
                sourcePath: "s", target: disk("target", size: 8 * 512), targetPath: "t"))
        try store.mark("b", [6 * 512..<6 * 512 + 1, 512..<513])
        try job.checkpoint(ModelBits("00110000").bitmap())
        return (store, job)
    }

    private func bits(_ store: BitmapStore) throws -> String {
        ModelBits(try store.load("b")).digits
    }

    /// Ends the job, and lets go of it in any case.
    private func end(_ job: StoreJob, _ end: End) throws {
        switch end {
        case .success: try job.finish(.success)
        case .failure: try job.finish(.failure)
        case .death: break
        }
    }

    private func run(_ mode: BitmapMode, _ end: End) throws -> BitmapStore {
        var (store, job): (BitmapStore, StoreJob?) = try begin(mode)
        try self.end(job!, end)
        job = nil
        return store
    }

    @Test(arguments: table.indices)
    func `a bitmap becomes what its mode and the end of the job say`(index: Int) throws {
        let (mode, end, expected) = Self.table[index]
        let store = try run(mode, end)
        #expect(try bits(store) == expected, "what reading says")
        try store.setRecording("b", true)
        #expect(try bits(store) == expected, "what a writing command makes of it")
        #expect(try store.jobs().count == (end == .success ? 0 : 1))
        #expect(try store.bitmaps()[0].isInterrupted == (end != .success))
        #expect((try store.bitmaps()[0].lastSuccess != nil) == (end == .success))
    }

    @Test(arguments: table.indices)
    func `a resumed job goes on with what remained and what was marked`(index: Int) throws {
        let (mode, end, _) = Self.table[index]
        guard end != .success else { return }
        let store = try run(mode, end)
        try store.mark("b", [7 * 512..<8 * 512])
        let job = try store.resumeJob(try store.jobs()[0].id)
        #expect(ModelBits(try job.loadRemaining()).digits == "01110011")
        try store.mark("b", [0..<1])
        try job.finish(.success)
        #expect(try bits(store) == (mode == .never ? "11110011" : "10000000"))
        #expect(try store.jobs().isEmpty)
    }

    @Test
    func `what was brought in while a job lay interrupted is copied by its resumption`() throws {
        let store = try run(.onSuccess, .death)
        try store.merge(into: "b", bits: ModelBits("10000000").bitmap())
        let job = try store.resumeJob(try store.jobs()[0].id)
        #expect(ModelBits(try job.loadRemaining()).digits == "11110010")
    }

    @Test func `clearing and removing drop what could have been resumed, and say so`() throws {
        var store = try run(.always, .failure)
        #expect(try store.clear("b").count == 1)
        #expect(try store.jobs().isEmpty && bits(store) == "00000000")
        store = try run(.always, .death)
        #expect(try store.remove("b").count == 1)
        #expect(try store.jobs().isEmpty)
    }

    @Test func `a job to the same target takes the place of an interrupted one`() throws {
        let store = try run(.always, .death)
        let old = try store.jobs()[0]
        let job = try store.beginJob(
            JobRequest(
                mode: .incremental, bitmap: .stored("b"), source: old.source, sourcePath: "s",
                target: old.target, targetPath: "t"))
        #expect(try store.jobs().map(\.id) == [job.record.id])
        #expect(ModelBits(try job.loadRemaining()).digits == "01110010")
    }

    @Test(arguments: [true, false])
    func `what was marked while a full mirror ran, its target lacks still`(isUnchanged: Bool) throws
    {
        let (_, store) = try makeStore(disk("source", size: 8 * 512))
        func begin(_ mode: JobMode, _ bitmap: BitmapReference?, _ target: String) throws -> StoreJob
        {
            var request = JobRequest(
                mode: mode, bitmap: bitmap, source: try store.device(), sourcePath: "s",
                target: disk(target, size: 8 * 512), targetPath: FilePath(target))
            request.allowsUnknownTarget = true
            return try store.beginJob(request)
        }
        try store.add("b", granularity: .min)
        try begin(.full, .stored("b"), "x").finish(.success)
        try store.mark("b", [0..<1])
        let full = try begin(.full, nil, "x")
        // Behind it, and then taken by a job to another target.
        try store.mark("b", [2 * 512..<2 * 512 + 1])
        try begin(.incremental, .stored("b"), "y").finish(.success)
        #expect(try bits(store) == "00000000")
        try full.finish(.success, sourceUnchanged: isUnchanged)
        let lacked = ModelBits(try store.load("b", for: disk("x", size: 8 * 512))).digits
        #expect(lacked == (isUnchanged ? "00000000" : "10100000"))
    }

    @Test
    func `a finer and a coarser bitmap merge without losing a byte, all of them or none`() throws {
        let (_, store) = try makeStore(disk("source", size: 8 * 512))
        try store.add("fine", granularity: .min)
        try store.add("coarse", granularity: Granularity(bytes: 2048))
        try store.add("off", granularity: .min, disabled: true)
        try store.mark("fine", [512..<513])
        try store.mark("coarse", [7 * 512..<7 * 512 + 1])
        try store.merge(into: "off", from: ["fine", "coarse"])
        #expect(ModelBits(try store.load("off")).digits == "01001111")
        #expect(throws: BitmapStoreError.self) {
            try store.merge(into: "coarse", from: ["fine", "missing"])
        }
        #expect(try store.load("coarse").dirtyBytes == 2048)
        #expect(throws: BitmapStoreError.disabled(name: "off")) {
            try store.mark("off", [0..<1])
        }
    }

    @Test(arguments: ["", "a\nb", String(repeating: "x", count: 1024)])
    func `names are checked`(name: String) throws {
        let (_, store) = try makeStore(disk("source", size: 8 * 512))
        #expect(throws: BitmapStoreError.self) { try store.add(name) }
        try store.add(String(repeating: "x", count: 1023))
        #expect(throws: BitmapStoreError.self) {
            try store.add(String(repeating: "x", count: 1023))
        }
    }
}

extension ModelBits {
    /// Granules of 512 bytes, one digit each.
    fileprivate init(_ digits: String) {
        self.init(size: digits.count * 512, shift: 9)
        bits = digits.map { $0 == "1" }
    }

    fileprivate var digits: String { String(bits.map { $0 ? "1" : "0" }) }
}
