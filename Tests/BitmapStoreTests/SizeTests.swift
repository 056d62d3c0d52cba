import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// What is written is what changed.
@Suite struct SizeTests {
    private let terabytes16 = 16 << 40

    @Test
    func `clearing one granule of 16 TiB writes a few blocks at the next checkpoint`() throws {
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
        #expect(disk.writtenBytes <= 4 * blockBytes + 1536)
        copy.clear(64 * page + 65536..<64 * page + 2 * 65536)
        disk.writtenBytes = 0
        try job.checkpoint(copy)
        #expect(disk.writtenBytes <= 4 * blockBytes + 1536)
        #expect(try job.loadRemaining().isEqual(to: copy))
        disk.writtenBytes = 0
        try store.mark("b", [page * 5..<page * 5 + 1])
        // The same for the bitmap and for what the job has to know.
        #expect(disk.writtenBytes <= 7 * blockBytes)
        copy.clearAll()
        disk.writtenBytes = 0
        try job.finish(.success)
        #expect(try store.load("b").dirtyBytes == 65536)
        #expect(disk.writtenBytes <= 4 * blockBytes + 1536)
    }

    /// What a transaction reads and writes besides bits: the superblocks, of which one is written
    /// twice, and one directory.
    private let overheadRead = 2 * Superblock.byteCount
    private let overheadWritten = blockBytes + 3 * Superblock.byteCount

    /// A disk of 8 TiB with ten dirty granules far apart, each in a page of its own.
    private func sparse() throws -> (MemoryDisk, BitmapStore) {
        let (disk, store) = try makeStore(disk("source", size: 8 << 40))
        try store.add("b")
        try store.mark("b", (0..<10).map { $0 << 39..<($0 << 39) + 65536 })
        return (disk, store)
    }

    /// - Returns: bytes of blocks that were read and written.
    private func cost(_ disk: MemoryDisk, _ body: () throws -> Void) rethrows -> [Int] {
        disk.readBytes = 0
        disk.writtenBytes = 0
        try body()
        return [disk.readBytes - overheadRead, disk.writtenBytes - overheadWritten]
    }

    @Test
    func `a job that ends well reads and writes only pages that were marked meanwhile`() throws {
        let (disk, store) = try sparse()
        var job = try store.beginJob(request("b", size: 8 << 40))
        #expect(try cost(disk) { try job.finish(.success) } == [0, 0])
        #expect(try store.bitmap("b").dirtyBytes == 0)

        try store.mark("b", (0..<10).map { $0 << 39..<($0 << 39) + 65536 })
        #expect(
            try cost(disk) { job = try store.beginJob(request("b", size: 8 << 40)) } == [0, 0])
        // One in a page that the job took, one in a page that was clean.
        try store.mark("b", [65536..<65537, 1 << 38..<(1 << 38) + 1])
        let found = try cost(disk) { try job.finish(.success) }
        #expect(found[0] <= 7 * blockBytes && found[1] <= 2 * blockBytes, "\(found)")
        #expect(try store.bitmap("b").dirtyBytes == 2 * 65536)
        var expected = DirtyBitmap(size: 8 << 40)
        expected.set(65536..<65537)
        expected.set(1 << 38..<(1 << 38) + 1)
        #expect(try store.load("b").isEqual(to: expected))
    }

    @Test func `a job that fails reads and writes only pages that changed`() throws {
        let (disk, store) = try sparse()
        var remaining = try store.load("b")
        let job = try store.beginJob(request("b", size: 8 << 40, .always))
        remaining.clear(0..<1 << 40)
        #expect(try cost(disk) { try job.checkpoint(remaining) }[1] <= blockBytes)
        // What remains is what was taken, or nothing, in every page.
        remaining.clear(0..<2 << 40)
        let found = try cost(disk) { try job.finish(.failure, remaining: remaining.copy()) }
        #expect(found[0] == 0 && found[1] <= blockBytes, "\(found)")
        #expect(try store.load("b").isEqual(to: remaining))
        try store.mark("b", [5..<6])
        let id = try store.jobs()[0].id
        let resuming = try cost(disk) { _ = try store.resumeJob(id) }
        #expect(resuming[0] <= 7 * blockBytes && resuming[1] == 0, "\(resuming)")
    }

    @Test
    func `merging one bitmap into another reads and writes only pages that both have`() throws {
        let (disk, store) = try sparse()
        try store.add("c")
        #expect(try cost(disk) { try store.merge(into: "c", from: ["b"]) } == [0, 0])
        try store.mark("c", [65536..<65537])
        let found = try cost(disk) { try store.merge(into: "b", from: ["c"]) }
        // Two pages to merge, one of them once more to compare it; a page and its table.
        #expect(found == [3 * blockBytes, 2 * blockBytes], "\(found)")
        #expect(try store.bitmap("b").dirtyBytes == 11 * 65536)
    }

    @Test func `loading reads only pages that are neither clean nor full`() throws {
        let (disk, store) = try sparse()
        try store.mark("b", [4 << 40..<5 << 40])
        var dirtyBytes: Int64 = 0
        let found = try cost(disk) { dirtyBytes = try store.load("b").dirtyBytes }
        #expect(dirtyBytes == (1 << 40) + (8 << 16))
        #expect(found[0] == 8 * blockBytes)
    }

    @Test func `empty and full bitmaps of any size take no blocks`() throws {
        let (disk, store) = try makeStore(disk("source", size: terabytes16))
        try store.add("b")
        try store.add("c", granularity: Granularity(bytes: 4096))
        try store.mark("b", [0..<Int64(terabytes16)])
        try store.mark("c", [0..<Int64(terabytes16)])
        let generation = try Generation.load(MemoryFile(disk), known: nil)
        #expect(!generation.uses.contains(.page) && !generation.uses.contains(.table))
        #expect(try store.bitmaps().map(\.dirtyBytes) == [Int64(terabytes16), Int64(terabytes16)])
    }

    @Test func `a copy for a job takes no blocks, and the file does not grow without end`() throws {
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

    private func request(
        _ name: String, size: Int = 16 << 40, _ mode: BitmapMode = .onSuccess
    ) throws -> JobRequest {
        JobRequest(
            mode: .incremental, bitmap: .stored(name), bitmapMode: mode,
            source: disk("source", size: size),
            sourcePath: "/dev/source", target: disk("target", size: size),
            targetPath: "/dev/target")
    }
}
