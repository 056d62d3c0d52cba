import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// What a bitmap is known to have heard of.
@Suite struct BitmapHistoryTests {
    private static let size = 8 * 512

    private func makeStore() throws -> (MemoryDisk, BitmapStore) {
        let (disk, store) = try BitmapStoreTests.makeStore(disk("source", size: Self.size))
        try store.add("n", granularity: .min)
        return (disk, store)
    }

    private func request(
        _ mode: JobMode, to target: String, seen: Int, missed: Bool = false
    ) -> JobRequest {
        var request = JobRequest(
            mode: mode, bitmap: .stored("n"), source: disk("source", size: Self.size),
            sourcePath: "s", target: disk(target, size: Self.size), targetPath: FilePath(target))
        request.sourceWitness = witness(seen)
        request.hasMissedWrite = missed
        return request
    }

    private func history(
        _ store: BitmapStore
    ) throws -> (history: BitmapHistory, hasNewMarks: Bool, hasMarks: Bool) {
        try #require(try store.history(of: .stored("n")))
    }

    private func lacked(_ store: BitmapStore) throws -> [Int64] {
        try store.bitmap("n").targets.map(\.lackedBytes)
    }

    private func mirrored(_ store: BitmapStore, _ targets: [String], seen: Int = 1) throws {
        for target in targets {
            try store.beginJob(request(.full, to: target, seen: seen)).finish(
                .success, sourceWitness: witness(seen), targetWitness: witness(9))
        }
    }

    @Test func `marks that were made since the last look are told from those before`() throws {
        let (disk, store) = try makeStore()
        try store.mark("n", [0..<512])
        #expect(try history(store).hasNewMarks)
        try mirrored(store, ["x"])
        #expect(try !history(store).hasNewMarks)
        #expect(try history(store).history.look?.witness == witness(1))
        try store.mark("n", [])
        #expect(try !history(store).hasNewMarks)
        try store.mark("n", [0..<1])
        #expect(try history(store).hasNewMarks)
        // To take marks away makes none.
        try store.beginJob(request(.incremental, to: "x", seen: 2)).finish(.failure)
        try store.clear("n")
        #expect(try !history(store).hasNewMarks)
        // Neither are they new because the store was closed.
        let found = try openStore(disk)
        #expect(try history(found).history == history(store).history)
    }

    @Test func `what takes marks away or forgets them is kept in mind`() throws {
        let (_, store) = try makeStore()
        #expect(try history(store).history.isWhole)
        try store.mark("n", [0..<512])
        try store.beginJob(request(.incremental, to: "x", seen: 1)).finish(.failure)
        #expect(try history(store).history.isWhole)
        try store.forgetJobs { _ in true }
        #expect(try !history(store).history.isWhole)

        let (_, other) = try makeStore()
        try other.clear("n")
        #expect(try history(other).history.isWhole, "nothing was marked")
        try other.mark("n", [0..<512])
        try other.clear("n")
        #expect(try !history(other).history.isWhole)
        try other.remove("n")
        try other.add("n", granularity: .min)
        #expect(try history(other).history.isWhole)
    }

    /// One of two files that changed at these times, in nanoseconds.
    private func changed(_ times: Int64...) -> [WriteWitness] {
        times.map { WriteWitness(size: Int64(Self.size), modified: $0, statusChanged: $0) }
    }

    @Test
    func `a state of the source from before a mark is known, also when it was taken`() throws {
        let (disk, store) = try makeStore()
        try store.mark("n", [0..<512], sourceWitness: { self.changed(3, 7) })
        try store.mark("n", [0..<512], sourceWitness: { self.changed(3, 8) })
        for store in [store, try openStore(disk)] {
            let history = try history(store).history
            #expect(history.isOlder(changed(3, 7)) && history.isOlder(changed(7)))
            #expect(!history.isOlder(changed(3, 8)) && !history.isOlder(changed(9)))
            #expect(!history.isOlder([]) && !history.isOlder(witness(1)))
        }
        try mirrored(store, ["x"])
        #expect(try history(store).history.isOlder(changed(7)))
        // What is merged brings its state with it.
        try store.add("m", granularity: .min)
        try store.merge(into: "m", from: ["n"])
        try store.mark("n", [0..<512], sourceWitness: { self.changed(11) })
        try store.merge(into: "m", from: ["n"])
        let merged = try #require(try store.history(of: .stored("m"))?.history)
        #expect(merged.isOlder(changed(10)) && !merged.isOlder(changed(11)))
    }

    @Test
    func `marks of an older state than those before show that the source was rolled back`() throws {
        let (_, store) = try makeStore()
        try mirrored(store, ["x", "y"])
        try store.mark("n", [0..<512], sourceWitness: { self.changed(8) })
        #expect(try lacked(store) == [512, 512])
        try store.mark("n", [0..<512], sourceWitness: { self.changed(5) })
        #expect(try lacked(store) == [Int64(Self.size), Int64(Self.size)])
        #expect(try !history(store).history.isOlder(changed(6)))
    }

    @Test
    func `a bitmap with newer marks forgets a target that an older state was mirrored to`() throws {
        let (_, store) = try makeStore()
        try store.add("m", granularity: .min)
        try mirrored(store, ["x", "y"])
        try store.mark("n", [0..<512], sourceWitness: { self.changed(8) })
        var other = request(.full, to: "x", seen: 1)
        other.bitmap = .stored("m")
        other.sourceWitness = changed(7)
        try store.beginJob(other).finish(.success)
        #expect(try store.bitmap("n").targets.map(\.path) == ["y"])
        #expect(try !history(store).history.isWhole)
        #expect(try store.bitmap("m").targets.map(\.path) == ["x"])
        other.bitmap = nil
        other.target = disk("y", size: Self.size)
        try store.noteUnrecordedJob(
            other, .success, targetWitness: witness(3), sourceUnchanged: true)
        #expect(try store.bitmap("n").targets.isEmpty)
    }

    @Test
    func `mirroring a snapshot while marks are taken takes no lack away, and is no look`() throws {
        let (_, store) = try makeStore()
        try store.add("m", granularity: .min)
        try mirrored(store, ["x"])
        var other = request(.full, to: "x", seen: 1)
        other.bitmap = .stored("m")
        try store.beginJob(other).finish(.success)
        // From a snapshot to x by n, while the disk is marked and mirrored to y by m.
        var first = request(.full, to: "x", seen: 1)
        first.sourceWitness = changed(7)
        let slow = try store.beginJob(first)
        for name in ["n", "m"] {
            try store.mark(name, [0..<512], sourceWitness: { self.changed(8) })
        }
        other.target = disk("y", size: Self.size)
        other.sourceWitness = changed(8)
        try store.beginJob(other).finish(.success, sourceWitness: changed(8))
        let additions = try history(store).history.look?.additions
        try slow.finish(
            .success, sourceWitness: changed(7), sourceUnchanged: true, isProven: true)
        #expect(try history(store).history.look?.additions == additions)
        let lacked = try store.bitmap("m").targets.map(\.lackedBytes)
        #expect(lacked == [512, 0])
    }

    @Test
    func `what compared all of a target makes it known anew to all bitmaps that know it`() throws {
        let (_, store) = try makeStore()
        try store.add("m", granularity: .min)
        try mirrored(store, ["x"])
        var other = request(.incremental, to: "x", seen: 1)
        other.bitmap = .stored("m")
        other.allowsUnknownTarget = true
        other.targetWitness = witness(30)
        try store.beginJob(other).finish(
            .success, sourceWitness: witness(1), targetWitness: witness(31), isProven: true)
        #expect(try store.bitmap("n").targets.map(\.witness) == [witness(31)])
    }

    @Test
    func `a missed write makes every target lack everything but the one copied whole`() throws {
        let (_, store) = try makeStore()
        try mirrored(store, ["x", "y"])
        let job = try store.beginJob(request(.full, to: "y", seen: 2, missed: true))
        #expect(try lacked(store) == [Int64(Self.size), Int64(Self.size)])
        try job.finish(.success, sourceWitness: witness(2))
        #expect(try store.bitmap("n").targets.map(\.path) == ["x", "y"])
        #expect(try lacked(store) == [Int64(Self.size), 0])
        #expect(try history(store).history.look?.witness == witness(2))
    }

    @Test func `a job that has yet to compare everything does not settle a missed write`() throws {
        let (_, store) = try makeStore()
        try mirrored(store, ["x", "y"])
        let job = try store.beginJob(request(.incremental, to: "y", seen: 2, missed: true))
        #expect(try lacked(store) == [Int64(Self.size), 0])
        #expect(try history(store).history.look?.witness == witness(1))
        try job.finish(
            .success, sourceWitness: witness(2), sourceUnchanged: true, isProven: true)
        #expect(try history(store).history.look?.witness == witness(2))
        #expect(try lacked(store) == [Int64(Self.size), 0])
    }

    @Test(arguments: [(1, 1, false, 0), (1, 2, true, 0), (0, 1, false, 1), (1, 0, false, 1)])
    func `what was written while a bitmap was disabled, all targets lack`(
        before: Int, after: Int, isMissed: Bool, doubts: Int
    ) throws {
        let (_, store) = try makeStore()
        try mirrored(store, ["x"])
        try store.setRecording("n", false, sourceWitness: before == 0 ? [] : witness(before))
        #expect(try (history(store).history.paused == nil) == (before == 0))
        // A second time changes nothing.
        try store.setRecording("n", false, sourceWitness: witness(7))
        try store.setRecording("n", true, sourceWitness: after == 0 ? [] : witness(after))
        #expect(try lacked(store) == [isMissed ? Int64(Self.size) : 0])
        #expect(try store.bitmap("n").targets[0].doubts.map(\.kind).count == doubts)
        #expect(try history(store).history.paused == nil)
    }

    @Test func `a comparison makes a target known that lacks what is marked`() throws {
        let (_, store) = try makeStore()
        try mirrored(store, ["x"])
        try store.mark("n", [0..<512])
        try store.noteComparison(
            with: disk("z", size: Self.size), at: "z", by: .stored("n"), sourceWitness: witness(3),
            targetWitness: witness(4), hasMissedWrite: false)
        let known = try #require(try store.target(disk("z", size: Self.size), of: .stored("n")))
        #expect(known.lackedBytes == 512 && known.witness == witness(4))
        #expect(known.lastSuccess == nil && known.doubts.isEmpty)
        #expect(try history(store).history.look?.witness == witness(3))
    }

    @Test func `a bitmap from before there were histories is judged by its last success`() {
        let none = BitmapHistory(lastSuccess: [], hasMarks: false, hasTargets: false)
        #expect(none.look == nil && none.isWhole && none.additions == 0)
        let known = BitmapHistory(lastSuccess: witness(1), hasMarks: true, hasTargets: true)
        #expect(known.look?.witness == witness(1) && !known.isWhole)
        #expect(known.additions > known.look?.additions ?? 0)
    }
}
