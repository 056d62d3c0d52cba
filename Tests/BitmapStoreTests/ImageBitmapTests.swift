import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

/// Bitmaps that an image keeps itself: eight granules, written as eight digits.
@Suite struct ImageBitmapTests {
    private let size = 8 * 512

    private func request(
        _ mode: JobMode = .incremental, to target: String = "x", _ bitmapMode: BitmapMode? = nil,
        vouched: Bool = false
    ) -> JobRequest {
        var request = JobRequest(
            mode: mode, bitmap: .image("n"), bitmapMode: bitmapMode ?? .onSuccess,
            source: disk("source", size: size), sourcePath: "s",
            target: disk(target, size: size), targetPath: .init(target))
        request.allowsUnknownTarget = vouched
        return request
    }

    private func makeStore() throws -> BitmapStore {
        try BitmapStoreTests.makeStore(disk("source", size: size)).1
    }

    /// A job that succeeds.
    ///
    /// - Returns: what it copied, and what it leaves to be cleared in the image.
    @discardableResult
    private func run(
        _ store: BitmapStore, _ request: JobRequest, marks: String
    ) throws -> (copied: String, cleared: String?) {
        let job = try store.beginJob(request, imageMarks: ModelBits(marks).bitmap())
        let copied = ModelBits(try job.loadRemaining()).digits
        var cleared = try job.finish(.success)
        guard let bits = cleared.take() else { return (copied, nil) }
        return (copied, ModelBits(bits).digits)
    }

    private func lacked(_ store: BitmapStore, marks: String) throws -> [String: Int64] {
        let targets = try store.targets(
            of: .image("n"), imageMarks: ModelBits(marks).bitmap())
        return Dictionary(
            uniqueKeysWithValues: targets.map { ($0.path.string, $0.lackedBytes / 512) })
    }

    @Test func `each target gets what it lacks, and a job says what the image may clear`() throws {
        let store = try makeStore()
        try run(store, request(.full, to: "x"), marks: "00000000")
        try run(store, request(.full, to: "y"), marks: "00000000")
        let first = try run(store, request(to: "x"), marks: "11000000")
        #expect(first.copied == "11000000" && first.cleared == "11000000")
        #expect(try lacked(store, marks: "00000001") == ["x": 1, "y": 3])
        let second = try run(store, request(to: "y"), marks: "00000001")
        #expect(second.copied == "11000001" && second.cleared == "00000001")
        #expect(try lacked(store, marks: "00000000") == ["x": 1, "y": 0])
    }

    @Test func `with the mode never, nothing may be cleared`() throws {
        let store = try makeStore()
        try run(store, request(.full), marks: "00000000")
        #expect(try run(store, request(.incremental, .never), marks: "10000000").cleared == nil)
        #expect(try lacked(store, marks: "10000000") == ["x": 1])
    }

    @Test func `who dies before clearing the image leaves too many marks, never too few`() throws {
        let store = try makeStore()
        try run(store, request(.full, to: "x"), marks: "00000000")
        try run(store, request(.full, to: "y"), marks: "00000000")
        try run(store, request(to: "x"), marks: "11000000")
        // The image has its marks still, and gets one more.
        #expect(try lacked(store, marks: "11000001") == ["x": 3, "y": 3])
        #expect(try run(store, request(to: "x"), marks: "11000001").copied == "11000001")
        #expect(try run(store, request(to: "y"), marks: "00000000").copied == "11000001")
    }

    /// What a bitmap can have become that had the marks 11000000.
    private static let remade: [(digits: String, shift: Int)] = [
        ("00000000", 9), ("10000000", 9), ("10111111", 9), ("1111", 10), ("1100", 10),
    ]

    @Test(arguments: 0..<5)
    func `one that has lost marks or has another granularity knows no target`(index: Int) throws {
        let (digits, shift) = Self.remade[index]
        let marks = ModelBits(digits, shift: shift)
        let store = try makeStore()
        try run(store, request(.full, to: "x"), marks: "00000000")
        try run(store, request(.full, to: "y", .onSuccess), marks: "00000000")
        // Marks that stay: they are settled, and not yet cleared.
        try run(store, request(.incremental, to: "x", .never), marks: "11000000")
        #expect(throws: BitmapStoreError.bitmapRemade(name: "n")) {
            try store.targets(of: .image("n"), imageMarks: marks.bitmap())
        }
        #expect(try store.targets(of: .image("n")).count == 2, "as long as it is not looked at")
        let job = try store.beginJob(request(.full, to: "x"), imageMarks: marks.bitmap())
        #expect(job.forgottenTargets.map(\.path.string).sorted() == ["x", "y"])
        try job.finish(.success)
        let known = try store.targets(of: .image("n"))
        #expect(known.map(\.path.string) == ["x"])
    }

    @Test func `a job whose bitmap has lost marks can't be resumed`() throws {
        let store = try makeStore()
        try run(store, request(.full), marks: "00000000")
        func die() throws {
            _ = try store.beginJob(request(), imageMarks: ModelBits("11000000").bitmap())
        }
        try die()
        let id = try store.jobs()[0].id
        #expect(throws: BitmapStoreError.bitmapRemade(name: "n")) {
            try store.resumeJob(id, imageMarks: ModelBits("10000000").bitmap())
        }
        let job = try store.resumeJob(id, imageMarks: ModelBits("11000100").bitmap())
        #expect(ModelBits(try job.loadRemaining()).digits == "11000100")
    }

    @Test func `what another job has cleared since, a job that is resumed copies too`() throws {
        let store = try makeStore()
        func die() throws {
            let job = try store.beginJob(
                request(.full, to: "x"), imageMarks: ModelBits("10000000").bitmap())
            try job.checkpoint(ModelBits("00001111").bitmap())
        }
        try die()
        let id = try store.jobs()[0].id
        // Granule 1 is written, and a job to another target takes it.
        try run(store, request(.full, to: "y"), marks: "11000000")
        let job = try store.resumeJob(id, imageMarks: ModelBits("00100000").bitmap())
        #expect(ModelBits(try job.loadRemaining()).digits == "11101111")
        try job.finish(.success)
        #expect(try lacked(store, marks: "00000000") == ["x": 0, "y": 1])
    }

    @Test
    func `what is cleared by its user, the targets lack; jobs on it are dropped and told`() throws {
        let store = try makeStore()
        try run(store, request(.full, to: "x"), marks: "00000000")
        func die() throws {
            _ = try store.beginJob(
                request(to: "x"), imageMarks: ModelBits("10000000").bitmap())
        }
        try die()
        let dropped = try store.willClear(
            imageBitmap: "n", marks: ModelBits("10000001").bitmap())
        #expect(dropped.jobs.count == 1 && dropped.targets.isEmpty)
        // Cleared, or not yet because the process died.
        #expect(try lacked(store, marks: "00000000") == ["x": 2])
        #expect(try lacked(store, marks: "10000001") == ["x": 2])
        #expect(try run(store, request(to: "x"), marks: "00000000").copied == "10000001")
    }

    @Test
    func `clearing a bitmap that something else cleared tells what is no longer known`() throws {
        let store = try makeStore()
        try run(store, request(.full), marks: "00000000")
        try run(store, request(.incremental, .never), marks: "11000000")
        let dropped = try store.willClear(
            imageBitmap: "n", marks: ModelBits("00000000").bitmap())
        #expect(dropped.targets.map(\.path.string) == ["x"])
        #expect(try store.targets(of: .image("n")).isEmpty)
        // It is kept that marks were lost: no target is taken on trust any more.
        #expect(try store.history(of: .image("n"))?.history.isWhole == false)
    }

    @Test
    func `a bitmap of the store and one of the image may have one name, and are two`() throws {
        let store = try makeStore()
        try store.add("n", granularity: .min, bits: ModelBits("00001111").bitmap())
        try run(store, request(.full), marks: "00000000")
        #expect(try run(store, request(), marks: "10000000").copied == "10000000")
        #expect(ModelBits(try store.load("n")).digits == "00001111")
        #expect(try store.bitmap("n").targets.isEmpty)
        try store.forget(imageBitmap: "n")
        #expect(try store.targets(of: .image("n")).isEmpty)
        #expect(try store.bitmaps().map(\.name) == ["n"])
    }
}

extension ModelBits {
    /// Granules of 512 bytes or more, one digit each.
    fileprivate init(_ digits: String, shift: Int = 9) {
        self.init(size: digits.count << shift, shift: shift)
        bits = digits.map { $0 == "1" }
    }

    fileprivate var digits: String { String(bits.map { $0 ? "1" : "0" }) }
}
