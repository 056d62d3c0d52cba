import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// Bitmaps that a tracker in the kernel marks for: what it has marked comes to them before it is
/// forgotten there, and one that ended without a word leaves them inconsistent.
@Suite struct TrackingTests {
    private static let size = 8 * 512
    private let tracker = StoredTracker(id: Array(repeating: 7, count: 16), bootID: "first")
    private let other = StoredTracker(id: Array(repeating: 8, count: 16), bootID: "first")

    private func makeStore() throws -> (MemoryDisk, BitmapStore) {
        let (disk, store) = try BitmapStoreTests.makeStore(disk("source", size: Self.size))
        try store.add("n", granularity: .min)
        try store.add("m", granularity: .min)
        return (disk, store)
    }

    private func bits(_ place: Int) -> DirtyBitmap {
        var bits = DirtyBitmap(size: Int64(Self.size), granularity: .min)
        bits.set(Int64(place) * 512..<Int64(place + 1) * 512)
        return bits
    }

    private func track(
        _ store: BitmapStore, _ name: String = "n", by tracker: StoredTracker? = nil,
        _ finding: BitmapStore.WriterFinding = .marked, merges: UInt64 = 0
    ) throws {
        try store.beginTracking(
            name, by: tracker ?? self.tracker, merges: merges, sourceWitness: witness(1)
        ) { _, _, _ in finding }
    }

    private func full(_ store: BitmapStore, to target: String = "x") throws {
        try store.beginJob(
            JobRequest(
                mode: .full, bitmap: .stored("n"), source: disk("source", size: Self.size),
                sourcePath: "s", target: disk(target, size: Self.size), targetPath: "x")
        ).finish(.success)
    }

    @Test func `marks come to each bitmap of the tracker, and to no other`() throws {
        let (disk, store) = try makeStore()
        try track(store)
        #expect(
            try store.merge(bits(1), of: tracker, number: 1, released: 0, sourceWitness: witness(2))
                == ["n"])
        #expect(try store.load("n").dirtyBytes == 512 && store.load("m").isClean)
        try track(store, "m", merges: 1)
        let names = try store.merge(
            bits(2), of: tracker, number: 2, released: 1, sourceWitness: witness(3))
        #expect(names == ["n", "m"])
        #expect(
            try store.merge(bits(3), of: other, number: 3, released: 2, sourceWitness: witness(4))
                == [])
        let later = try openStore(disk)
        #expect(try later.load("n").dirtyBytes == 1024 && later.load("m").dirtyBytes == 512)
        #expect(try later.bitmaps().map(\.tracker) == [tracker, tracker])
        #expect(try later.bitmaps().allSatisfy { $0.state == .recording && !$0.isBusy })
        let found = try #require(try later.history(of: .stored("n")))
        #expect(found.history.look?.witness == witness(3))
    }

    @Test func `marks that come while a job works stay behind it`() throws {
        let (_, store) = try makeStore()
        try track(store)
        let job = try store.beginJob(
            JobRequest(
                mode: .full, bitmap: .stored("n"), source: disk("source", size: Self.size),
                sourcePath: "s", target: disk("x", size: Self.size), targetPath: "x"))
        try store.merge(bits(1), of: tracker, number: 1, released: 0, sourceWitness: witness(2))
        try job.finish(.success)
        #expect(try store.load("n").dirtyBytes == 512)
    }

    @Test func `a bitmap that lacks an earlier merge is inconsistent`() throws {
        func merge(_ store: BitmapStore, _ number: UInt64, released: UInt64) throws -> [String] {
            try store.merge(
                bits(1), of: tracker, number: number, released: released,
                sourceWitness: witness(2))
        }
        let (disk, store) = try makeStore()
        try track(store)
        #expect(try merge(store, 1, released: 0) == ["n"])
        // The process died before the tracker released what it had: that comes again.
        #expect(try merge(store, 2, released: 0) == ["n"])
        try track(store, "m", merges: 2)
        let later = try openStore(disk)
        #expect(try merge(later, 4, released: 2) == ["n", "m"])
        // What the third one brought was released, and is not here.
        #expect(try merge(later, 6, released: 5) == [])
        for name in ["n", "m"] {
            #expect(try later.bitmap(name).state == .inconsistent)
            #expect(try later.bitmap(name).tracker == nil)
            #expect(try later.load(name).dirtyBytes == Int64(Self.size))
        }
        // Nor does a number come twice.
        let (_, third) = try makeStore()
        try track(third)
        #expect(try merge(third, 1, released: 0) == ["n"] && merge(third, 1, released: 0) == [])
    }

    @Test func `a bitmap whose tracker ended without a word is inconsistent`() throws {
        let (disk, store) = try makeStore()
        try track(store)
        disk.bootID = "second"
        let later = try openStore(disk)
        #expect(try later.bitmap("n").state == .inconsistent && later.bitmap("n").tracker == nil)
        #expect(try later.load("n").dirtyBytes == Int64(Self.size))
        #expect(try later.bitmap("m").state == .recording)
        #expect(throws: BitmapStoreError.inconsistent(name: "n", path: later.path)) {
            try later.mark("n", [0..<1])
        }
        // So is one of which it is found out later.
        let (_, third) = try makeStore()
        try track(third)
        #expect(try third.endTracking(by: tracker, isLost: true) == ["n"])
        #expect(try third.bitmap("n").state == .inconsistent)
    }

    @Test func `a full mirror makes an inconsistent bitmap right again`() throws {
        let (_, store) = try makeStore()
        try full(store, to: "other")
        try track(store)
        try store.endTracking(by: tracker, isLost: true)
        try full(store)
        #expect(try store.bitmap("n").state == .recording && store.load("n").isClean)
        // Of its other targets nobody knows what they lack.
        let lacks = try store.load("n", for: disk("other", size: Self.size))
        #expect(lacks.dirtyBytes == Int64(Self.size))
    }

    /// What it said before it failed, it may have said of what it had not copied.
    @Test func `a full mirror that fails leaves everything dirty`() throws {
        let (_, store) = try makeStore()
        try track(store)
        try store.endTracking(by: tracker, isLost: true)
        try store.beginJob(
            JobRequest(
                mode: .full, bitmap: .stored("n"), source: disk("source", size: Self.size),
                sourcePath: "s", target: disk("x", size: Self.size), targetPath: "x")
        ).finish(.failure)
        #expect(try store.load("n").dirtyBytes == Int64(Self.size))
    }

    @Test func `a bitmap has one tracker, and what would end it is refused`() throws {
        let (_, store) = try makeStore()
        try track(store)
        try track(store)
        #expect(throws: BitmapStoreError.tracked(name: "n")) { try track(store, by: other) }
        #expect(throws: BitmapStoreError.tracked(name: "n")) { try store.remove("n") }
        #expect(throws: BitmapStoreError.tracked(name: "n")) { try store.setRecording("n", false) }
        try store.clear("n")
        #expect(try store.bitmap("n").tracker == tracker)
        try store.setRecording("m", false)
        #expect(throws: BitmapStoreError.disabled(name: "m")) { try track(store, "m") }
        #expect(try store.endTracking(by: tracker, of: "m", isLost: false) == [])
        #expect(try store.endTracking(by: tracker, isLost: false) == ["n"])
        #expect(try store.bitmap("n").state == .recording && store.bitmap("n").tracker == nil)
        try store.remove("n")
    }

    @Test func `a write that was missed before tracking began is no clean start`() throws {
        let (_, store) = try makeStore()
        try full(store)
        try track(store, by: nil, .missed)
        let lacks = try store.load("n", for: disk("x", size: Self.size))
        #expect(lacks.dirtyBytes == Int64(Self.size))
    }
}
