import Glibc
import TestSupport
import Testing

@testable import Ring

/// Reads and writes.
@Suite struct TransferTests {
    @Test(arguments: QueueKind.allCases)
    func `what is written at any offset, from any part of the slab, is read back`(_ kind: QueueKind)
        throws
    {
        try checkRandomTransfers(kind, registeredFiles: true)
    }

    @Test(arguments: QueueKind.allCases)
    func `every request completes once through a ring much smaller than their number`(
        _ kind: QueueKind
    ) throws {
        let file = try ScratchFile(byteCount: 1 << 20)
        var generator = RandomTest.generator(defaultSeed: 2)
        let content = randomBytes(1 << 20, &generator)
        try file.put(content)
        let slab = try BufferSlab(byteCount: 1 << 20)
        var ring = try TestQueue(kind, depth: 3, files: [file.descriptor], buffers: slab)
        var blocks = Array(0..<256)
        blocks.shuffle(using: &generator)
        // Each block four times, the last into the place where it stands in the file.
        let requests = (0..<1024).map { index in
            Request.read(
                file0, at: Int64(blocks[index % 256] * 4096), count: 4096,
                into: blocks[(index + (index < 768 ? 1 : 0)) % 256] * 4096)
        }
        let results = try ring.carryOut(Array(requests[..<768]))
        let last = try ring.carryOut(Array(requests[768...]))
        #expect((results + last).allSatisfy { $0 == 4096 })
        #expect(slab.bytes(0..<1 << 20) == content)
        let statistics = ring.statistics
        #expect(statistics.submissions == 1024)
        #expect(statistics.completions == 1024)
    }

    @Test(arguments: QueueKind.allCases)
    func `a read that reaches past the end is short, one that starts there returns 0`(
        _ kind: QueueKind
    ) throws {
        let file = try ScratchFile(byteCount: 0)
        try file.put([UInt8](repeating: 7, count: 4096 + 100))
        let slab = try BufferSlab(byteCount: 16384)
        var ring = try TestQueue(kind, depth: 4, files: [file.descriptor], buffers: slab)
        let results = try ring.carryOut([
            .read(file0, at: 0, count: 8192, into: 0),
            .read(file0, at: 4096, count: 4096, into: 8192),
            .read(file0, at: 8192, count: 4096, into: 12288),
        ])
        #expect(results == [4196, 100, 0])
        #expect(slab.bytes(0..<4196).allSatisfy { $0 == 7 })
        #expect(slab.isZero(12288..<16384))
    }

    @Test(arguments: QueueKind.allCases)
    func `a failed request keeps its token, and leaves its neighbours alone`(_ kind: QueueKind)
        throws
    {
        let file = try ScratchFile(byteCount: 1 << 16)
        let readOnly = try file.reopened(O_RDONLY)
        defer { close(readOnly) }
        let slab = try BufferSlab(byteCount: 1 << 16)
        var ring = try TestQueue(kind, depth: 8, files: [file.descriptor, readOnly], buffers: slab)
        ring.enqueue(.write(FileIndex(1), at: 0, count: 4096, from: 0), token: .max)
        ring.enqueue(.read(file0, at: 4096, count: 4096, into: 4096), token: 0)
        ring.enqueue(.read(FileIndex(2), at: 0, count: 4096, into: 8192), token: 1 << 63)
        ring.enqueue(.punchHole(FileIndex(1), at: 0, count: 4096), token: 0x0123_4567_89AB_CDEF)
        ring.enqueue(.write(file0, at: 0, count: 4096, from: 0), token: 42)
        let completions = try ring.drain()
        #expect(completions.count == 5)
        let results = Dictionary(uniqueKeysWithValues: completions.map { ($0.token, $0.result) })
        #expect(
            results == [
                .max: -EBADF, 0: 4096, 1 << 63: -EBADF, 0x0123_4567_89AB_CDEF: -EBADF, 42: 4096,
            ])
    }

    /// Most filesystems refuse these with EINVAL; ext4 does so for writes, and reads through the
    /// page cache. Whatever the kernel answers to a plain system call is right for the ring, too.
    @Test(arguments: QueueKind.allCases)
    func `a direct request off the sectors gets the same answer as a system call`(_ kind: QueueKind)
        throws
    {
        let file = try ScratchFile(byteCount: 1 << 16)
        let slab = try BufferSlab(byteCount: 1 << 16)
        let bytes = [UInt8](repeating: 9, count: 8192)
        slab.fill(bytes, at: 0)
        var ring = try TestQueue(kind, depth: 8, files: [file.descriptor], buffers: slab)
        for (offset, count) in [(1, 4096), (0, 100), (3, 3), (512, 511)] {
            let results = try ring.carryOut([
                .write(file0, at: Int64(offset), count: count, from: 0),
                .read(file0, at: Int64(offset), count: count, into: 8192),
            ])
            let expected = slab.withMutableBytes(0..<1 << 16) { span in
                span.withUnsafeMutableBytes { memory in
                    let base = memory.baseAddress!
                    let written = pwrite(file.descriptor, base, count, offset)
                    let writeResult = written < 0 ? -errno : Int32(written)
                    let got = pread(file.descriptor, base + 8192, count, offset)
                    return [writeResult, got < 0 ? -errno : Int32(got)]
                }
            }
            #expect(results == expected, "\(count) bytes at \(offset)")
        }
    }

    @Test(arguments: QueueKind.allCases)
    func `two queues on two threads don't disturb each other`(_ kind: QueueKind) throws {
        let threads = (0..<2).map { index in
            TestThread {
                try checkRandomTransfers(kind, registeredFiles: true, seed: UInt64(index))
            }
        }
        for thread in threads { try thread.join() }
    }
}

/// Random aligned writes and reads against an array of bytes. A batch never touches a block twice,
/// because requests of one batch run in any order.
func checkRandomTransfers(
    _ kind: QueueKind = .uring, registeredFiles: Bool, seed: UInt64 = 1, rounds: Int = 40,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let generatorSeed = RandomTest.seed(default: seed)
    var generator = SeededGenerator(seed: generatorSeed)
    let blocks = 64
    let blockSize = 4096
    let file = try ScratchFile(byteCount: blocks * blockSize)
    let slab = try BufferSlab(byteCount: 4 << 20)
    // More table entries than RLIMIT_NOFILE allows files makes the registration of files fail.
    let table = [CInt](repeating: file.descriptor, count: registeredFiles ? 3 : 2000)
    var ring = try TestQueue(kind, depth: 16, files: table, buffers: slab)
    if let setup = ring.setup {
        #expect(setup.registeredFiles == registeredFiles, sourceLocation: sourceLocation)
    }

    var model = [UInt8](repeating: 0, count: blocks * blockSize)
    for round in 0..<rounds {
        var requests: [Request] = []
        var reads: [(slab: Int, file: Int, count: Int)] = []
        var block = 0
        while block < blocks {
            let length = min(Int.random(in: 1...8, using: &generator), blocks - block)
            let count = length * blockSize
            let position = block * blockSize
            // Each request has a part of the slab of its own, at an odd multiple of 512.
            let place = block * 16384 + 512 * Int.random(in: 0..<16, using: &generator)
            let index = FileIndex(UInt32.random(in: 0..<3, using: &generator) % 3)
            if Bool.random(using: &generator) {
                let bytes = randomBytes(count, &generator)
                slab.fill(bytes, at: place)
                model.replaceSubrange(position..<position + count, with: bytes)
                requests.append(.write(index, at: Int64(position), count: count, from: place))
            } else {
                slab.clear(place..<place + count)
                requests.append(.read(index, at: Int64(position), count: count, into: place))
                reads.append((place, position, count))
            }
            block += length + Int.random(in: 0...2, using: &generator)
        }
        let results = try ring.carryOut(requests)
        let lengths = requests.map { Int32($0.length) }
        #expect(
            results == lengths, "round \(round), \(generator.replay)",
            sourceLocation: sourceLocation)
        for read in reads {
            let isSame =
                slab.bytes(read.slab..<read.slab + read.count)
                == Array(model[read.file..<read.file + read.count])
            #expect(isSame, "round \(round), \(generator.replay)", sourceLocation: sourceLocation)
        }
    }
    #expect(try file.get(model.count) == model, sourceLocation: sourceLocation)
}
