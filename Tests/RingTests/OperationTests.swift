import Glibc
import Testing

@testable import Ring

/// Operations that move no bytes through the slab.
@Suite struct OperationTests {
    @Test(arguments: QueueKind.allCases)
    func `the kernel knows every operation that a queue offers`(_ kind: QueueKind) throws {
        let ring = try TestQueue(kind, depth: 1, files: [], buffers: BufferSlab(byteCount: 1))
        let operations: [Request.Operation] = [
            .nop, .read, .write, .sync, .dataSync, .punchHole, .zeroRange, .writeBack, .dropCache,
            .pollIn, .timeout, .cancel,
        ]
        for operation in operations {
            let isSupported = ring.supports(operation)
            #expect(isSupported, "\(operation)")
        }
    }

    @Test(arguments: QueueKind.allCases)
    func `a nop needs no file`(_ kind: QueueKind) throws {
        var ring = try TestQueue(kind, depth: 4, files: [], buffers: BufferSlab(byteCount: 1))
        let results = try ring.carryOut([.nop, .nop, .nop, .nop, .nop])
        #expect(results == [0, 0, 0, 0, 0])
    }

    @Test(arguments: QueueKind.allCases)
    func `both kinds of flush succeed on a file and fail on what can't be flushed`(
        _ kind: QueueKind
    ) throws {
        let file = try ScratchFile(byteCount: 4096)
        let pipe = Pipe()
        var ring = try TestQueue(
            kind,
            depth: 4, files: [file.descriptor, pipe.writeEnd], buffers: BufferSlab(byteCount: 1))
        let results = try ring.carryOut([
            .sync(file0), .dataSync(file0), .sync(FileIndex(1)), .dataSync(FileIndex(1)),
        ])
        #expect(results == [0, 0, -EINVAL, -EINVAL])
    }

    @Test(arguments: QueueKind.allCases)
    func `zeroing by either way zeroes its range, nothing else, and keeps the size`(
        _ kind: QueueKind
    ) throws {
        let full = [UInt8](repeating: 0xAA, count: 4 << 16)
        let file = try ScratchFile(byteCount: 0)
        try file.put(full)
        var ring = try TestQueue(
            kind,
            depth: 4, files: [file.descriptor], buffers: BufferSlab(byteCount: 1))
        let before = file.status.st_blocks
        #expect(try ring.carryOut(.punchHole(file0, at: 1 << 16, count: 1 << 16)) == 0)
        #expect(file.status.st_blocks < before, "a punched hole gives its space back")
        // This one reaches past the end of the file, which must stay where it is.
        let result = try ring.carryOut(.zeroRange(file0, at: 3 << 16, count: 2 << 16))
        let zeroed = result == 0
        #expect(zeroed || result == -EOPNOTSUPP)
        var expected = full
        expected.replaceSubrange(1 << 16..<2 << 16, with: repeatElement(0, count: 1 << 16))
        if zeroed {
            expected.replaceSubrange(3 << 16..<4 << 16, with: repeatElement(0, count: 1 << 16))
        }
        let content = try file.get(full.count + 4096)
        #expect(content == expected)
        #expect(file.status.st_size == full.count)
    }

    @Test(arguments: QueueKind.allCases)
    func `written back and dropped, a range is no longer in the page cache`(_ kind: QueueKind)
        throws
    {
        // Halves of 2 MiB, because the cache holds files in pages of up to that, and drops a page
        // only as a whole.
        let half = 2 << 20
        let file = try ScratchFile(byteCount: 2 * half, direct: false)
        let slab = try BufferSlab(byteCount: 2 * half)
        slab.fill([UInt8](repeating: 5, count: 2 * half), at: 0)
        var ring = try TestQueue(kind, depth: 2, files: [file.descriptor], buffers: slab)
        #expect(try ring.carryOut(.write(file0, at: 0, count: 2 * half, from: 0)) == 2 * half)
        #expect(try ring.carryOut(.writeBack(file0, at: 0, count: Int64(half))) == 0)
        #expect(try ring.carryOut(.dropCache(file0, at: 0, count: Int64(half))) == 0)
        let resident = residentPages(file.descriptor, at: 0, count: 2 * half)
        #expect(resident.prefix(resident.count / 2).allSatisfy { !$0 })
        #expect(resident.suffix(resident.count / 2).allSatisfy { $0 })
        #expect(try file.get(2 * half) == slab.bytes(0..<2 * half))
    }

    @Test(arguments: QueueKind.allCases)
    func `cache ranges of 4 GiB and more are not cut to their low 32 bits`(_ kind: QueueKind) throws
    {
        let end = 5 << 30
        let file = try ScratchFile(byteCount: end, direct: false)
        try file.put([UInt8](repeating: 1, count: 1 << 16), at: end - 1 << 16)
        var ring = try TestQueue(
            kind,
            depth: 2, files: [file.descriptor], buffers: BufferSlab(byteCount: 1))
        #expect(try ring.carryOut(.writeBack(file0, at: 4096, count: 5 << 30)) == 0)
        #expect(try ring.carryOut(.dropCache(file0, at: 0, count: 5 << 30)) == 0)
        let resident = residentPages(file.descriptor, at: end - 1 << 16, count: 1 << 16)
        #expect(resident.allSatisfy { !$0 })
    }

    @Test(arguments: QueueKind.allCases, [false, true])
    func `a poll waits until there is something to read`(_ kind: QueueKind, isReadableBefore: Bool)
        throws
    {
        let pipe = Pipe()
        var ring = try TestQueue(
            kind,
            depth: 2, files: [pipe.readEnd], buffers: BufferSlab(byteCount: 1))
        if isReadableBefore { pipe.makeReadable() }
        ring.enqueue(.pollIn(file0), token: 1)
        if !isReadableBefore {
            #expect(try ring.reap(1, timeout: 1_000_000).isEmpty)
            pipe.makeReadable()
        }
        #expect(try ring.drain() == [Completion(token: 1, result: Int32(POLLIN))])
    }

    @Test(arguments: QueueKind.allCases)
    func `timeouts fire in the order of their times, each with its own time`(_ kind: QueueKind)
        throws
    {
        var ring = try TestQueue(kind, depth: 4, files: [], buffers: BufferSlab(byteCount: 1))
        // More than one round, so that entries are used again.
        for _ in 0..<3 {
            for milliseconds in [60, 20, 40, 0] as [Int64] {
                ring.enqueue(
                    .timeout(nanoseconds: milliseconds * 1_000_000), token: Token(milliseconds))
            }
            let completions = try ring.drain()
            #expect(completions.map(\.token) == [0, 20, 40, 60])
            #expect(completions.allSatisfy { $0.result == -ETIME })
        }
    }

    @Test(arguments: QueueKind.allCases)
    func `a timeout of less than nothing is refused as a completion`(_ kind: QueueKind) throws {
        var ring = try TestQueue(kind, depth: 4, files: [], buffers: BufferSlab(byteCount: 1))
        #expect(try ring.carryOut(.timeout(nanoseconds: -1)) == -EINVAL)
    }

    @Test(arguments: QueueKind.allCases, [0, 7, .max] as [Token])
    func `a cancelled request completes, and so does the cancel`(_ kind: QueueKind, token: Token)
        throws
    {
        let pipe = Pipe()
        var ring = try TestQueue(
            kind,
            depth: 4, files: [pipe.readEnd], buffers: BufferSlab(byteCount: 1))
        let requests: [Request] = [.pollIn(file0), .timeout(nanoseconds: 3_600_000_000_000)]
        for request in requests {
            ring.enqueue(request, token: token)
            #expect(try ring.reap(0).isEmpty)
            ring.enqueue(.cancel(token), token: 1234)
            let completions = try ring.drain().sorted { $0.result < $1.result }
            #expect(
                completions == [
                    Completion(token: token, result: -ECANCELED),
                    Completion(token: 1234, result: 0),
                ])
        }
    }

    @Test(arguments: QueueKind.allCases)
    func `cancelling what isn't there says so`(_ kind: QueueKind) throws {
        var ring = try TestQueue(kind, depth: 4, files: [], buffers: BufferSlab(byteCount: 1))
        #expect(try ring.carryOut(.cancel(77)) == -ENOENT)
    }
}

/// For each page of a range, whether it is in the page cache.
private func residentPages(_ descriptor: CInt, at offset: Int, count: Int) -> [Bool] {
    let address = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, offset)!
    precondition(address != MAP_FAILED)
    defer { munmap(address, count) }
    var pages = [UInt8](repeating: 0, count: count / Int(getpagesize()))
    precondition(mincore(address, count, &pages) == 0)
    return pages.map { $0 & 1 != 0 }
}
