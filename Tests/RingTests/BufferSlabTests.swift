import Glibc
import TestSupport
import Testing

@testable import Ring

@Suite struct BufferSlabTests {
    static let hugePage = 2 << 20

    @Test(arguments: [1, 4096, hugePage - 1, hugePage, hugePage + 1, 5 * hugePage])
    func `a slab is whole, aligned huge pages of zeros`(wanted: Int) throws {
        let slab = try BufferSlab(byteCount: wanted)
        #expect(slab.byteCount >= wanted)
        #expect(slab.byteCount < wanted + Self.hugePage)
        #expect(slab.byteCount % Self.hugePage == 0)
        let address = UInt(bitPattern: slab.address(0, count: slab.byteCount))
        #expect(address % UInt(Self.hugePage) == 0)
        #expect(slab.isZero(0..<slab.byteCount))
    }

    @Test func `the largest slab can be had, and is addressable to its last byte`() throws {
        let slab = try BufferSlab(byteCount: BufferSlab.maximumByteCount)
        #expect(slab.byteCount == BufferSlab.maximumByteCount)
        slab.fill([3], at: slab.byteCount - 1)
        #expect(slab.bytes(slab.byteCount - 1..<slab.byteCount) == [3])
    }

    /// What is registered with a ring would be copied by each fork, at once.
    @Test func `a slab is left out of processes that are forked`() throws {
        let slab = try BufferSlab(byteCount: 1)
        let address = UInt(bitPattern: slab.address(0, count: 1))
        var isInside = false
        var flags: [Substring] = []
        for line in try #require(readSmallFile("/proc/self/smaps")).split(separator: "\n") {
            let bounds = line.prefix { $0 != " " }.split(separator: "-")
            if bounds.count == 2, let low = UInt(bounds[0], radix: 16),
                let high = UInt(bounds[1], radix: 16)
            {
                isInside = (low..<high).contains(address)
            } else if isInside, line.hasPrefix("VmFlags:") {
                flags = line.split(separator: " ")
            }
        }
        #expect(flags.contains("dc"), "\(flags)")
    }

    @Test func `slabs come and go without eating address space or each other's bytes`() throws {
        for round in 0..<200 {
            let first = try BufferSlab(byteCount: 1)
            let second = try BufferSlab(byteCount: 3 * Self.hugePage)
            first.fill([1], at: first.byteCount - 1)
            second.fill([2], at: 0)
            #expect(first.bytes(first.byteCount - 1..<first.byteCount) == [1], "round \(round)")
            #expect(second.bytes(0..<2) == [2, 0], "round \(round)")
        }
        let mappings = readSmallFile("/proc/self/maps")?.split(separator: "\n").count ?? 0
        #expect(mappings < 2000)
    }

    @Test func `one byte that isn't zero is found wherever it is, and nowhere else`() throws {
        let slab = try BufferSlab(byteCount: 1)
        var generator = RandomTest.generator(defaultSeed: 3)
        // Around the word, the 256-byte block of the scan, and the page.
        let edges = [0, 8, 16, 248, 256, 264, 504, 512, 520, 4088, 4096, 4104, slab.byteCount]
        let positions = Set(edges.flatMap { $0 - 2...$0 + 2 }).filter { 0..<slab.byteCount ~= $0 }
        for position in positions.sorted() {
            slab.fill([1 << UInt8.random(in: 0..<8, using: &generator)], at: position)
            #expect(!slab.isZero(0..<slab.byteCount), "byte \(position)")
            for start in edges where start < slab.byteCount {
                for end in edges.flatMap({ [$0 - 1, $0, $0 + 1] })
                where end >= start && end <= slab.byteCount {
                    let isZero = slab.isZero(start..<end)
                    #expect(
                        isZero == !(start..<end).contains(position),
                        "byte \(position) in \(start)..<\(end)")
                }
            }
            slab.clear(position..<position + 1)
            #expect(slab.isZero(0..<slab.byteCount))
        }
    }

    @Test func `clearing clears its range and no byte beside it`() throws {
        let slab = try BufferSlab(byteCount: 1)
        for range in [0..<0, 0..<1, 7..<9, 255..<513, 4095..<8193, 100..<100] {
            var model = [UInt8](repeating: 0xFF, count: 16384)
            slab.fill(model, at: 0)
            slab.clear(range)
            model.replaceSubrange(range, with: repeatElement(0, count: range.count))
            #expect(slab.bytes(0..<16384) == model, "\(range)")
        }
    }

    @Test func `lent bytes are the slab's, from the first to the last`() throws {
        let slab = try BufferSlab(byteCount: 1)
        let end = slab.byteCount
        for range in [0..<end, 0..<0, end..<end, end - 1..<end, 5..<10] {
            let counts = (
                slab.withBytes(range) { $0.byteCount },
                slab.withMutableBytes(range) { $0.byteCount }
            )
            #expect(counts == (range.count, range.count))
        }
        slab.fill([1, 2, 3], at: 1000)
        #expect(slab.bytes(999..<1004) == [0, 1, 2, 3, 0])
    }

    @Test func `huge pages are told as nothing, or as a part of the slab`() throws {
        let slab = try BufferSlab(byteCount: 4 * Self.hugePage)
        let start = UInt(bitPattern: slab.address(0, count: 0))
        for page in 0..<4 { slab.fill([1], at: page * Self.hugePage) }
        let counted = slab.hugePageByteCount()
        #expect(counted.map { 0...slab.byteCount ~= $0 && $0 % Self.hugePage == 0 } ?? true)
        #expect((HugePages.byteCount(in: start..<start) ?? 0) == 0)
        #expect((HugePages.byteCount(in: 0..<4096) ?? 0) == 0)
    }

    @Test func `a file that isn't there has no text`() {
        #expect(readSmallFile("/proc/self/nothing") == nil)
        #expect(readSmallFile("/proc/self/comm")?.isEmpty == false)
    }

    @Test func `memory that can't be had is an error that says how much it was`() throws {
        try TestThread {
            // A huge page for the alignment, and what is left for everything else.
            let mapped = (512 << 20) + (2 << 20) + AddressSpace.reserve
            try #require(
                SystemCallFilter.fail(
                    SystemCallFilter.mmap, with: ENOMEM, secondArgument: UInt32(mapped)))
            let failure = #expect(throws: RingError.self) {
                try BufferSlab(byteCount: 512 << 20)
            }
            #expect(failure == .noBufferMemory(bytes: 512 << 20, needed: mapped, code: ENOMEM))
            #expect(throws: Never.self) { try BufferSlab(byteCount: 1) }
        }.join()
    }
}

/// What a slab's user may not do.
@Suite struct BufferSlabPreconditionTests {
    @Test func `reading past the end stops the program`() async {
        await #expect(processExitsWith: .trap) {
            let slab = try BufferSlab(byteCount: 1)
            slab.withBytes(slab.byteCount - 1..<slab.byteCount + 1) { _ in }
        }
    }

    @Test func `writing before the start stops the program`() async {
        await #expect(processExitsWith: .trap) {
            let slab = try BufferSlab(byteCount: 1)
            slab.withMutableBytes(-1..<1) { _ in }
        }
    }

    @Test func `clearing past the end stops the program`() async {
        await #expect(processExitsWith: .trap) {
            let slab = try BufferSlab(byteCount: 1)
            slab.clear(slab.byteCount..<slab.byteCount + 1)
        }
    }

    @Test func `looking for zeros off a word stops the program`() async {
        await #expect(processExitsWith: .trap) {
            _ = try BufferSlab(byteCount: 1).isZero(4..<12)
        }
    }

    @Test func `asking for nothing stops the program`() async {
        await #expect(processExitsWith: .trap) { _ = try BufferSlab(byteCount: 0) }
    }

    @Test func `asking for more than the kernel registers as one buffer stops the program`() async {
        await #expect(processExitsWith: .trap) {
            _ = try BufferSlab(byteCount: BufferSlab.maximumByteCount + 1)
        }
    }
}
