import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import BitmapStore

/// Files that somebody has changed with care, so that every checksum is right: each call gives an
/// error or an answer, and what it writes can be read again.
@Suite struct HostileTests {
    private static let size = 40_100

    /// A store with something of everything.
    private func example() throws -> [UInt8] {
        let (disk, store) = try makeStore(disk("source", size: Self.size))
        try store.add("a", granularity: .min)
        try store.add("b", granularity: Granularity(bytes: 4096), disabled: true)
        try store.mark("a", [0..<3000, 20_000..<20_001])
        let marks = try store.load("a")
        try store.beginJob(request(.stored("a"), to: "x")).finish(
            .success, sourceWitness: witness(1), targetWitness: witness(2))
        try store.mark("a", [9000..<9001])
        let job = try store.beginJob(request(.stored("a"), to: "y"))
        try store.mark("a", [30_000..<30_001])
        try job.finish(.failure, remaining: marks.copy(), targetWitness: witness(3))
        try store.beginJob(request(.image("i"), to: "x"), imageMarks: marks.copy())
            .finish(.success)
        try store.beginJob(request(.image("i"), to: "z"), imageMarks: marks.copy())
            .finish(.failure)
        // One that died, and a recorder that did.
        _ = try store.beginJob(request(nil, to: "w"), working: marks.copy())
        _ = try store.record("a")
        return disk.content
    }

    private func request(_ bitmap: BitmapReference?, to target: String) -> JobRequest {
        var request = JobRequest(
            mode: .incremental, bitmap: bitmap, bitmapMode: .always,
            source: disk("source", size: Self.size), sourcePath: "s",
            target: disk(target, size: Self.size), targetPath: FilePath(target))
        request.allowsUnknownTarget = true
        request.targetWitness = witness(2)
        return request
    }

    /// The file with another catalog, table or page, and the checksums of all that leads there.
    private struct Forgery {
        let content: [UInt8]
        let generation: Generation

        init(_ content: [UInt8]) throws {
            self.content = content
            generation = try Generation.load(MemoryFile(MemoryDisk(content: content)), known: nil)
        }

        var directory: Range<Int> {
            let start = Int(generation.superblock.directory.offset)
            return start..<start + Int(generation.superblock.directoryLength)
        }

        /// The new directory comes behind everything: it may have another length.
        func forged(directory bytes: [UInt8]) -> [UInt8] {
            func padded(_ bytes: [UInt8]) -> [UInt8] {
                bytes + Array(repeating: 0, count: -bytes.count & (blockBytes - 1))
            }
            let start = padded(content)
            let result = start + padded(bytes)
            var superblock = generation.superblock
            superblock.blockCount = UInt64(result.count / blockBytes)
            superblock.directory = Reference(
                offset: UInt64(start.count), checksum: xxHash64(bytes))
            superblock.directoryLength = UInt64(bytes.count)
            return forged(superblock, in: result)
        }

        func forged(_ superblock: Superblock, in content: [UInt8]) -> [UInt8] {
            var result = content
            for slot in 0..<Superblock.slotCount {
                let start = slot * blockBytes
                result.replaceSubrange(
                    start..<start + Superblock.byteCount, with: superblock.encoded())
            }
            return result
        }

        /// - Parameter changes: bytes of blocks of bits.
        func forged(blocks changes: [Int: UInt8]) -> [UInt8] {
            var bytes = content
            for (offset, byte) in changes { bytes[offset] = byte }
            // Pages first, then the tables that name them.
            var sums: [Reference: UInt64] = [:]
            for use in [BlockUse.page, .table] {
                for block in generation.uses.indices where generation.uses[block] == use {
                    let start = block * blockBytes
                    if use == .table { seal(&bytes, start..<start + blockBytes, sums) }
                    let bounds = start..<start + blockBytes
                    let old = Reference(
                        offset: UInt64(start), checksum: xxHash64(Array(content[bounds])))
                    sums[old] = xxHash64(Array(bytes[bounds]))
                }
            }
            seal(&bytes, directory, sums)
            return Forgery(unchecked: bytes, generation).forged(
                directory: Array(bytes[directory]))
        }

        private init(unchecked content: [UInt8], _ generation: Generation) {
            self.content = content
            self.generation = generation
        }

        /// Puts right checksums into all references to blocks in a piece of the file.
        private func seal(
            _ bytes: inout [UInt8], _ range: Range<Int>, _ sums: [Reference: UInt64]
        ) {
            for place in range.dropLast(15) {
                let found = Reference(
                    offset: bytes.number(at: place, as: UInt64.self),
                    checksum: bytes.number(at: place + 8, as: UInt64.self))
                guard let sum = sums[found] else { continue }
                var word: [UInt8] = []
                word.append(littleEndian: sum)
                bytes.replaceSubrange(place + 8..<place + 16, with: word)
            }
        }
    }

    /// Every call there is, one after the other; what does not refuse must leave a store.
    private func useAll(_ content: [UInt8], _ place: String) throws {
        for isReading in [true, false] {
            let disk = MemoryDisk(content: content)
            guard let store = try? openStore(disk) else {
                #expect(disk.content == content, "\(place): a refused file was written to")
                return
            }
            if isReading {
                read(store)
                #expect(disk.content == content, "\(place): reading has written")
            } else {
                write(store)
                do { _ = try Generation.load(MemoryFile(disk), known: nil) } catch {
                    Issue.record("\(place): what was written can't be read: \(error)")
                }
            }
        }
    }

    private func read(_ store: BitmapStore) {
        let marks = DirtyBitmap(size: Int64(Self.size), granularity: .min)
        _ = try? store.device()
        _ = try? store.generation
        _ = try? store.imageBitmaps()
        for bitmap in (try? store.bitmaps()) ?? [] {
            attempt { _ = try store.load(bitmap.name) }
            for target in bitmap.targets {
                attempt { _ = try store.load(bitmap.name, for: target.identity) }
                _ = try? store.target(target.identity, of: .stored(bitmap.name))
            }
        }
        for name in (try? store.imageBitmaps()) ?? [] {
            _ = try? store.targets(of: .image(name))
            _ = try? store.targets(of: .image(name), imageMarks: marks.copy())
        }
        for job in (try? store.jobs()) ?? [] {
            #expect(job.planned - job.remainingBytes >= 0)
            #expect(!"\(job)".isEmpty)
        }
    }

    /// An error is as good as an answer.
    private func attempt(_ body: () throws -> Void) {
        do { try body() } catch {}
    }

    private func write(_ store: BitmapStore) {
        var marks = DirtyBitmap(size: Int64(Self.size), granularity: .min)
        marks.set(0..<30_000)
        try? store.mark("a", [100..<30_000])
        try? store.setRecording("b", true)
        try? store.merge(into: "b", from: ["a"])
        try? store.merge(into: "a", bits: marks)
        _ = try? store.beginWriting(marks, sourceWitness: { [] }, judge: { _, _, _ in .missed })
        for job in (try? store.jobs()) ?? [] {
            guard let resumed = try? store.resumeJob(job.id, imageMarks: marks.copy()) else {
                continue
            }
            attempt { _ = try resumed.loadRemaining() }
            try? resumed.checkpoint(marks)
            attempt { _ = try resumed.finish(.failure) }
        }
        for bitmap in [BitmapReference.stored("a"), .stored("b"), .image("i")] {
            for ending in [JobEnding.success, .failure] {
                guard
                    let job = try? store.beginJob(
                        request(bitmap, to: "x"), imageMarks: marks.copy())
                else { continue }
                attempt { _ = try job.finish(ending, targetWitness: witness(4)) }
            }
        }
        var full = request(nil, to: "y")
        full.mode = .full
        _ = try? store.noteUnrecordedJob(full, .success, targetWitness: witness(5))
        if let session = try? store.record("b"), (try? store.device().size) ?? 0 > 0 {
            session.set(0..<1)
            try? session.close()
        }
        _ = try? store.willClear(imageBitmap: "i", marks: marks)
        try? store.noteRecording(imageBitmap: "i", false, sourceWitness: witness(6))
        _ = try? store.forgetTargets(of: .stored("a")) { $0.lackedBytes > 0 }
        _ = try? store.clear("b")
        _ = try? store.forget(imageBitmap: "i")
        _ = try? store.remove("a")
        try? store.add("new", bits: marks.copy())
        _ = try? store.forgetJobs { _ in true }
        _ = try? store.removeFileIfEmpty()
    }

    private static let patterns: [UInt8] = [0x01, 0x80, 0xff]

    /// - Returns: all places, or as many as a test run has time for.
    private func places(_ all: some Collection<Int>, _ random: inout SeededGenerator) -> [Int] {
        Array(all.shuffled(using: &random).prefix(RandomTest.events(default: 150)))
    }

    @Test func `each byte of the directory may be another one`() throws {
        var random = RandomTest.generator(defaultSeed: 1)
        let forgery = try Forgery(example())
        for place in places(forgery.directory, &random) {
            for pattern in Self.patterns {
                var bytes = forgery.content
                bytes[place] ^= pattern
                try useAll(
                    forgery.forged(directory: Array(bytes[forgery.directory])),
                    "byte \(place) of the directory ^ \(pattern); \(random.replay)")
            }
        }
    }

    @Test func `each byte of tables and pages may be another one`() throws {
        var random = RandomTest.generator(defaultSeed: 2)
        let forgery = try Forgery(example())
        let uses = forgery.generation.uses
        let blocks = uses.indices.filter { uses[$0] == .table || uses[$0] == .page }
        #expect(!blocks.isEmpty)
        let same = try Generation.load(
            MemoryFile(MemoryDisk(content: forgery.forged(blocks: [:]))), known: nil)
        #expect(same.catalog == forgery.generation.catalog)
        // What is beyond is zeros, and has to be.
        let all = blocks.flatMap { $0 * blockBytes..<$0 * blockBytes + 48 }
        for place in places(all, &random) {
            for pattern in Self.patterns {
                try useAll(
                    forgery.forged(blocks: [place: forgery.content[place] ^ pattern]),
                    "byte \(place) ^ \(pattern); \(random.replay)")
            }
        }
    }

    @Test func `numbers at their limits are refused or are right`() throws {
        let forgery = try Forgery(example())
        let limits: [Int64] = [.min, -1, 0, 1, 1 << 61, .max - 1, .max]
        let changes: [@Sendable (inout Catalog, Int64) -> Void] = [
            { $0.nextID = UInt64(bitPattern: $1) },
            { $0.jobs[0].planned = $1 },
            { $0.jobs[0].startedAt = $1 },
            { $0.jobs[0].checkpointedAt = $1 },
            { $0.jobs[0].remaining.dirtyBytes = $1 },
            { $0.jobs[0].target.size = $1 },
            { $0.bitmaps[0].createdAt = $1 },
            { $0.bitmaps[0].bits.dirtyBytes = $1 },
            { $0.targets[0].success?.bytesCopied = $1 },
            { $0.targets[0].success?.time = $1 },
            {
                $0.targets[0].witness = [
                    WriteWitness(
                        size: $1, modified: $1, statusChanged: $1, counters: nil)
                ]
            },
            { $0.targets[0].identity.partition = Int($1) },
            { $0.imageBitmaps[0].settled.dirtyBytes = $1 },
            { $0.device.size = $1 },
        ]
        for (index, change) in changes.enumerated() {
            for limit in limits {
                var catalog = forgery.generation.catalog
                change(&catalog, limit)
                try useAll(
                    forgery.forged(directory: catalog.encoded()), "change \(index) to \(limit)")
            }
        }
    }

    @Test func `more tables than memory should hold are read again each time`() throws {
        var cache = TableCache()
        let (disk, store) = try makeStore(disk("source", size: 1 << 33))
        try store.add("a", granularity: .min)
        try store.mark("a", [0..<512, 1 << 32..<(1 << 32) + 512])
        let generation = try Generation.load(MemoryFile(disk), known: nil)
        let table = try #require(generation.catalog.bitmaps[0].bits.tables.first { $0.isStored })
        let known = try #require(generation.tables[table])
        for number in 0..<TableCache.countMax {
            cache.keep([], of: Reference(offset: UInt64(number) << 12, checksum: 1))
        }
        cache.keep(known, of: table)
        #expect(cache[table] == nil)
        #expect(try cache.read(table, MemoryFile(disk)) == known)
        let reader = BitReader(file: MemoryFile(disk), tables: TableCache())
        #expect(try reader.load(generation.catalog.bitmaps[0].bits).dirtyBytes == 1024)
    }
}
