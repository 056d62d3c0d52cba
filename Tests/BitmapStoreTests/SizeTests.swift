import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// What is written is what changed.
@Suite struct SizeTests {
    private let terabytes16 = 16 << 40

    @Test("Clearing one granule of 16 TiB writes a few blocks at the next checkpoint")
    func fewBlocks() throws {
        let (disk, store) = try makeStore(disk("source", size: terabytes16))
        try store.add("b")
        // Every 64th page of the bitmap takes a block, so that every table does.
        let page = Int64(BitLayout.granulesPerPage) << 16
        try store.mark("b", (0..<128).map { $0 * 64 * page..<$0 * 64 * page + 3 * 65536 })
        let job = try store.beginJob(request("b"))
        let remaining = try job.loadRemaining()
        var copy = remaining.copy()
        copy.clear(0..<65536)
        disk.writtenBytes = 0
        try job.checkpoint(copy)
        // Page, table, directory, two superblocks.
        #expect(disk.writtenBytes <= 4 * blockBytes + 1024)
        copy.clear(64 * page + 65536..<64 * page + 2 * 65536)
        disk.writtenBytes = 0
        try job.checkpoint(copy)
        #expect(disk.writtenBytes <= 4 * blockBytes + 1024)
        #expect(try job.loadRemaining().isEqual(to: copy))
        disk.writtenBytes = 0
        try store.mark("b", [page * 5..<page * 5 + 1])
        // The same for the bitmap and for what the job has to know.
        #expect(disk.writtenBytes <= 7 * blockBytes)
        copy.clearAll()
        disk.writtenBytes = 0
        try job.finish(.success)
        #expect(try store.load("b").dirtyBytes == 65536)
        #expect(disk.writtenBytes <= 4 * blockBytes + 1024)
    }

    @Test("Empty and full bitmaps of any size take no blocks")
    func noBlocks() throws {
        let (disk, store) = try makeStore(disk("source", size: terabytes16))
        try store.add("b")
        try store.add("c", granularity: Granularity(bytes: 4096))
        try store.mark("b", [0..<Int64(terabytes16)])
        try store.mark("c", [0..<Int64(terabytes16)])
        let generation = try Generation.load(MemoryFile(disk), known: nil)
        #expect(!generation.uses.contains(.page) && !generation.uses.contains(.table))
        #expect(try store.bitmaps().map(\.dirtyBytes) == [Int64(terabytes16), Int64(terabytes16)])
    }

    @Test("A copy for a job takes no blocks, and the file does not grow without end")
    func sharing() throws {
        // Smaller than the others: every round looks at all words.
        let (disk, store) = try makeStore(disk("source", size: 1 << 40))
        try store.add("b")
        let page = Int64(BitLayout.granulesPerPage) << 16
        try store.mark("b", [0..<1, page * 300..<page * 300 + 1])
        let before = try Generation.load(MemoryFile(disk), known: nil).uses.count { $0 == .page }
        let job = try store.beginJob(request("b", size: 1 << 40))
        let after = try Generation.load(MemoryFile(disk), known: nil).uses.count { $0 == .page }
        #expect(before == after)
        var bits = try job.loadRemaining()
        for round in 0..<200 {
            bits.set(Int64(round) * 65536..<Int64(round) * 65536 + 1)
            try job.checkpoint(bits)
        }
        #expect(disk.content.count <= 40 * blockBytes)
    }

    private func request(_ name: String, size: Int = 16 << 40) throws -> JobRequest {
        JobRequest(
            mode: .incremental, bitmap: name, source: disk("source", size: size),
            sourcePath: "/dev/source", target: disk("target", size: size),
            targetPath: "/dev/target")
    }
}
