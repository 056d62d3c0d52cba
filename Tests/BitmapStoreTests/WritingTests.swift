import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// What writes the source of a store says so before and afterwards, so that its marks explain
/// nothing that others have written.
@Suite struct WritingTests {
    private static let size = 8 * 512

    private func makeStore() throws -> (MemoryDisk, BitmapStore) {
        let (disk, store) = try BitmapStoreTests.makeStore(disk("source", size: Self.size))
        try store.add("n", granularity: .min)
        return (disk, store)
    }

    private func bits(_ place: Int) -> DirtyBitmap {
        var bits = DirtyBitmap(size: Int64(Self.size), granularity: .min)
        bits.set(Int64(place) * 512..<Int64(place + 1) * 512)
        return bits
    }

    private func dirty(_ store: BitmapStore) throws -> Int64 {
        try store.load("n").dirtyBytes
    }

    private func isBeingWritten(_ disk: MemoryDisk) throws -> Bool {
        let found = try #require(try openStore(disk).history(of: .stored("n")))
        return found.history.isBeingWritten
    }

    @Test func `what is written is marked, and that it is over`() throws {
        let (disk, store) = try makeStore()
        #expect(
            try store.beginWriting(
                bits(1), sourceWitness: { witness(1) }, judge: { _, _, _ in .marked })
                == ["n"])
        #expect(try dirty(store) == 512 && isBeingWritten(disk))
        try store.endWriting(bits(1), found: witness(2))
        let found = try #require(try openStore(disk).history(of: .stored("n")))
        #expect(!found.history.isBeingWritten && found.history.look?.witness == witness(2))
        // A write from now on is not explained by those marks.
        #expect(!found.hasNewMarks && found.hasMarks)
    }

    @Test(arguments: [true, false])
    func `a bitmap that missed a write gets everything, one in doubt leaves that`(
        isMissed: Bool
    ) throws {
        let (_, store) = try makeStore()
        try store.beginJob(
            JobRequest(
                mode: .full, bitmap: .stored("n"), source: disk("source", size: Self.size),
                sourcePath: "s", target: disk("x", size: Self.size), targetPath: "x")
        ).finish(.success)
        var seen: [Bool] = []
        try store.beginWriting(
            bits(1), sourceWitness: { [] },
            judge: { _, hasNewMarks, hasMarks in
                seen = [hasNewMarks, hasMarks]
                return isMissed ? .missed : .doubt(.sourceTouched)
            })
        // The marks of now are not taken for those of others.
        #expect(seen == [false, false])
        #expect(try dirty(store) == (isMissed ? Int64(Self.size) : 512))
        let doubts = try store.targets(of: .stored("n"))[0].doubts.map(\.kind)
        #expect(doubts == (isMissed ? [] : [.sourceTouched]))
    }

    @Test func `where a writer died, the next one marks everything`() throws {
        let (disk, store) = try makeStore()
        try store.beginWriting(bits(1), sourceWitness: { [] }, judge: { _, _, _ in .marked })
        let later = try openStore(disk)
        try later.beginWriting(bits(2), sourceWitness: { [] }, judge: { _, _, _ in .marked })
        #expect(try dirty(later) == Int64(Self.size) && isBeingWritten(disk))
        try later.endWriting(bits(2), found: witness(3))
        #expect(try !isBeingWritten(disk))
    }

    @Test func `another device that writes the same storage leaves no look`() throws {
        let (disk, store) = try makeStore()
        try store.beginWriting(bits(1), sourceWitness: { [] }, judge: { _, _, _ in .marked })
        try store.endWriting(bits(1), found: nil)
        #expect(try isBeingWritten(disk), "as if it had died")
        try store.endWriting(bits(1), found: [])
        #expect(try dirty(store) == 512 && !isBeingWritten(disk))
        #expect(try store.history(of: .stored("n"))?.history.look == nil)
    }

    @Test func `a bitmap that takes no marks is left alone`() throws {
        let (disk, store) = try makeStore()
        try store.setRecording("n", false)
        #expect(
            try store.beginWriting(bits(1), sourceWitness: { [] }, judge: { _, _, _ in .missed })
                == [])
        #expect(try store.endWriting(bits(1), found: witness(2)) == [])
        #expect(try dirty(store) == 0 && !isBeingWritten(disk))
    }

    @Test func `one that is disabled meanwhile is not left as if a job had died`() throws {
        let (disk, store) = try makeStore()
        try store.beginWriting(
            bits(1), sourceWitness: { [] }, judge: { _, _, _ in .marked })
        try store.setRecording("n", false)
        #expect(try isBeingWritten(disk))
        try store.endWriting(bits(1), found: witness(2))
        #expect(try !isBeingWritten(disk))
    }

    @Test func `a job that gives up leaves a doubt, or nothing at all`() throws {
        for isDistrusted in [false, true] {
            let (disk, store) = try makeStore()
            let request = JobRequest(
                mode: .incremental, bitmap: .stored("n"), bitmapMode: .always,
                source: BitmapStoreTests.disk("source", size: Self.size), sourcePath: "s",
                target: BitmapStoreTests.disk("x", size: Self.size), targetPath: "x")
            try store.beginJob(request).finish(.success)
            try store.beginJob(request).giveUp(
                targetWitness: witness(2), doubts: [.unseen], isDistrusted: isDistrusted)
            let again = try openStore(disk)
            #expect(try again.jobs().isEmpty)
            let target = try again.targets(of: .stored("n"))[0]
            #expect(target.lackedBytes == Int64(Self.size))
            #expect(target.doubts.map(\.kind).contains(.unseen) == !isDistrusted)
            #expect((target.lastSuccess == nil) == isDistrusted)
        }
    }

    /// Of a file that it only reads, how it was before counts still.
    @Test(arguments: [0, 1, 2])
    func `a job that died leaves nothing known of what it writes`(writtenFiles: Int) throws {
        let (disk, store) = try makeStore()
        var request = JobRequest(
            mode: .full, bitmap: .stored("n"),
            source: BitmapStoreTests.disk("source", size: Self.size),
            sourcePath: "s", target: BitmapStoreTests.disk("x", size: Self.size), targetPath: "x")
        let files = witness(1) + [WriteWitness(size: 5, inode: 6, born: 7, modified: 8)]
        try store.beginJob(request).finish(.success, targetWitness: files)
        request.targetWitness = files
        request.writtenFiles = writtenFiles
        _ = try store.beginJob(request)
        let left = files.enumerated().map { $0 < writtenFiles ? WriteWitness.unknown : $1 }
        let again = try openStore(disk)
        #expect(try again.jobs()[0].targetWitness == left)
        #expect(try again.targets(of: .stored("n"))[0].witness == left)
        // It is the same when that is written.
        try again.mark("n", [0..<512])
        try again.forgetJobs { _ in true }
        #expect(try openStore(disk).targets(of: .stored("n"))[0].witness == left)
    }
}
