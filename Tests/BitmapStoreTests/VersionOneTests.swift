import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import BitmapStore

/// Files of ringmirror 0.1.0 are read, and written anew by what changes them.
@Suite struct VersionOneTests {
    private let megabyte = 1 << 20

    private func fixture() throws -> (MemoryDisk, BitmapStore) {
        let disk = MemoryDisk(content: VersionOneFixture.content)
        return (disk, try openStore(disk))
    }

    private func version(_ disk: MemoryDisk) throws -> UInt32 {
        try Generation.load(MemoryFile(disk), known: nil).superblock.version
    }

    @Test func `everything in it is there`() throws {
        let (disk, store) = try fixture()
        let bitmaps = try store.bitmaps()
        #expect(bitmaps.map(\.name) == ["nightly", "fresh", "off"])
        #expect(bitmaps.map(\.granularity.bytes) == [65536, 4096, 512])
        #expect(bitmaps.map(\.state) == [.recording, .recording, .disabled])
        #expect(bitmaps.map(\.size) == Array(repeating: Int64(3 * megabyte + 3), count: 3))
        var marks = DirtyBitmap(size: Int64(3 * megabyte + 3), granularity: .default)
        marks.set(Int64(megabyte)..<Int64(megabyte) + 1)
        marks.set(Int64(2 * megabyte)..<Int64(2 * megabyte) + 1)
        #expect(try store.load("nightly").isEqual(to: marks))
        let jobs = try store.jobs()
        #expect(jobs.map(\.bitmap) == [.stored("fresh"), nil])
        #expect(jobs.map(\.targetPath) == ["/srv/images/u.img", "/srv/images/w.img"])
        #expect(jobs.allSatisfy { !$0.isRunning && !$0.isUnrecorded })
        #expect(jobs.allSatisfy { $0.sourceWitness.first?.modified != nil })
        #expect(jobs.map(\.remainingBytes) == [4096, Int64(3 * megabyte / 2 + 3)])
        #expect(disk.content == VersionOneFixture.content, "reading changes nothing")
    }

    @Test func `its last success is a target that lacks what is marked`() throws {
        let (_, store) = try fixture()
        let target = try #require(try store.bitmap("nightly").targets.first)
        #expect(target.path == "/srv/images/t.img" && target.lackedBytes == 2 * 65536)
        #expect(target.witness.map(\.size) == [Int64(3 * megabyte + 3)])
        #expect(target.witness.first?.modified != nil)
        #expect(target.witness.first?.statusChanged == nil)
        #expect(target.lastSuccess?.mode == .full)
        #expect(try store.bitmap("nightly").lastSuccess == target.lastSuccess)
        #expect(try store.bitmap("off").targets.isEmpty)
    }

    @Test func `a job that died in it can be resumed, and makes its target known`() throws {
        let (_, store) = try fixture()
        // That version has worked it into the bitmap: what was left, and what was marked after.
        #expect(try store.load("fresh").dirtyBytes == 4096 + 3)
        #expect(try store.bitmap("fresh").targets.isEmpty)
        let job = try store.resumeJob(try store.jobs()[0].id)
        #expect(try job.loadRemaining().dirtyBytes == 4096 + 3)
        try job.finish(.success)
        let target = try #require(try store.bitmap("fresh").targets.first)
        #expect(target.path == "/srv/images/u.img" && target.lackedBytes == 0)
    }

    @Test
    func `what changes it writes it in the format of today, with all that was in it`() throws {
        let (disk, store) = try fixture()
        let before = try Snapshot.read(disk)
        #expect(try version(disk) == 1)
        try store.mark("nightly", [])
        #expect(try version(disk) == 1, "nothing has changed")
        try store.mark("nightly", [0..<1])
        #expect(try version(disk) == Superblock.version)
        var expected = before
        expected.bitmaps[0].bits.set(0..<1)
        #expect(try Snapshot.read(disk) == expected)
        let again = try openStore(disk)
        #expect(try again.bitmap("nightly").targets.map(\.lackedBytes) == [3 * 65536])
        let slots = disk.content
        #expect(slots[0..<512] == slots[blockBytes..<blockBytes + 512])
    }

    @Test func `a kill or a power cut while it is written anew leaves one or the other`() throws {
        let (disk, store) = try fixture()
        var random = RandomTest.generator(defaultSeed: 1)
        let before = try Snapshot.read(disk)
        disk.startRecording()
        try store.mark("nightly", [0..<1])
        let after = try Snapshot.read(disk)
        for count in 0...disk.events.count {
            let killed = disk.afterKill(before: count)
            for _ in 0..<20 {
                let cut = killed.afterPowerCut(percent: 50, using: &random)
                for disk in [killed, cut] {
                    let found = try Snapshot.read(disk)
                    #expect(found == before || found == after, "call \(count); \(random.replay)")
                }
            }
        }
    }

    @Test func `marks that a failed job took from another target count as lacking`() throws {
        let (_, store) = try makeStore(disk("source", size: 8 * 512))
        try store.add("b", granularity: .min)
        try store.mark("b", [0..<1024])
        func run(_ name: String, _ mode: BitmapMode, _ ending: JobEnding) throws {
            var request = JobRequest(
                mode: .full, bitmap: .stored("b"), bitmapMode: mode, source: try store.device(),
                sourcePath: "s", target: disk(name, size: 8 * 512), targetPath: .init(name))
            request.allowsUnknownTarget = true
            try store.beginJob(request).finish(ending)
        }
        try run("x", .onSuccess, .success)
        try run("y", .always, .failure)
        // The catalog as version 1 would have told it.
        var catalog = try store.look { view throws(BitmapStoreError) in view.catalog }
        for place in catalog.targets.indices {
            catalog.targets[place].lacked = .clean(catalog.targets[place].lacked.layout)
        }
        catalog.allowForLostMarks()
        let lacked = Dictionary(
            uniqueKeysWithValues: catalog.targets.map { ($0.path, $0.lacked.dirtyBytes) })
        #expect(lacked == ["x": 8 * 512, "y": 0])
    }
}
