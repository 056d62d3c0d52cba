import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

@Suite struct ExtentTests {
    private func extents(of device: StorageDevice) throws -> [StorageExtent] {
        var found: [StorageExtent] = []
        var offset: Int64 = 0
        while offset < device.geometry.size {
            let extent = try device.extent(at: offset)
            try #require(extent.range.lowerBound == offset && !extent.range.isEmpty)
            found.append(extent)
            offset = extent.range.upperBound
        }
        return found
    }

    @Test func `an empty file has no extents`() throws {
        let scratch = try Scratch()
        let device = try openSource(scratch.file("a", size: 0))
        #expect(device.geometry.size == 0)
        #expect(try extents(of: device).isEmpty)
    }

    @Test(arguments: [1, 511, 512, 4097, mebibyte - 1])
    func `a hole reaches the very end`(size: Int64) throws {
        let scratch = try Scratch()
        let device = try openSource(scratch.file("a", size: size))
        #expect(try extents(of: device) == [StorageExtent(range: 0..<size, content: .zero)])
        #expect(device.readsAsZero(0..<size))
        #expect(!device.readsAsZero(0..<size + 1))
    }

    @Test func `data between holes is found`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("a", size: 4 * mebibyte)
        write(4096, at: mebibyte, to: path)
        let device = try openSource(path)
        #expect(
            try extents(of: device) == [
                StorageExtent(range: 0..<mebibyte, content: .zero),
                StorageExtent(range: mebibyte..<mebibyte + 4096, content: .data),
                StorageExtent(range: mebibyte + 4096..<4 * mebibyte, content: .zero),
            ])
        #expect(!device.readsAsZero(mebibyte - 1..<mebibyte + 1))
        #expect(device.readsAsZero(0..<mebibyte))
    }

    @Test func `short holes are folded into their data`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("a", size: mebibyte)
        for index in 0..<8 { write(4096, at: Int64(index) * 32768, to: path) }
        let device = try openSource(path)
        let first = try device.extent(at: 0)
        #expect(first == StorageExtent(range: 0..<7 * 32768 + 4096, content: .data))
    }

    /// The cost of one question is bounded, so an endless comb of tiny holes comes in pieces.
    @Test func `a long comb comes in pieces`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("a", size: 1024 * 8192)
        for index in 0..<1024 { write(4096, at: Int64(index) * 8192, to: path) }
        let device = try openSource(path)
        let found = try extents(of: device)
        // What follows the last tooth is a hole to the end of the file.
        #expect(found.dropLast().allSatisfy { $0.content == .data })
        #expect(found.last?.content == .zero)
        #expect(found.count > 2 && found.count < 10)
    }

    @Test func `reserved and unwritten space reads as zero`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("a", size: mebibyte)
        let descriptor = open(path, O_RDWR)
        defer { close(descriptor) }
        try #require(fallocate(descriptor, 0, 0, Int(mebibyte)) == 0)
        let device = try openSource(path, SourceOptions(allowSourceInUse: true))
        #expect(device.readsAsZero(0..<mebibyte))
    }

    @Test func `a shrunken file is no hole`() throws {
        let scratch = try Scratch()
        let path = try scratch.file("a", size: mebibyte)
        let device = try openSource(path)
        truncate(path, 4096)
        // Reading it will fail, and that is what the engine has to see.
        #expect(try device.extent(at: 65536).content == .data)
        #expect(!device.readsAsZero(0..<65536))
        #expect(try device.currentSize() == 4096)
    }

    /// Random files against a naive twin: data must never be called zero, long holes must be seen.
    @Test(arguments: 0..<8)
    func `extents agree with a naive twin`(seed: Int) throws {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 &+ 1
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let blocks = 1024
        let size = Int64(blocks) * 4096 - Int64(next(4096))
        let scratch = try Scratch()
        let path = try scratch.file("a", size: size)
        var isData = [Bool](repeating: false, count: blocks)
        for _ in 0..<next(60) {
            let block = next(blocks)
            for index in block..<min(block + 1 + next(8), blocks) {
                isData[index] = true
                let count = min(4096, Int(size) - index * 4096)
                write(count, at: Int64(index) * 4096, to: path)
            }
        }
        let device = try openSource(path)
        for extent in try extents(of: device) where extent.content == .zero {
            let first = Int(extent.range.lowerBound / 4096)
            let last = Int((extent.range.upperBound - 1) / 4096)
            #expect(!isData[first...last].contains(true), "seed \(seed): \(extent)")
        }
        for first in 0..<blocks - 16 where !isData[first..<first + 16].contains(true) {
            let offset = Int64(first) * 4096
            #expect(try device.extent(at: offset).content == .zero, "seed \(seed): \(first)")
        }
    }

    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops))
    func `disks are data throughout`() throws {
        let scratch = try Scratch()
        let device = try openSource(scratch.loop(size: 4 * mebibyte).path)
        #expect(try device.extent(at: 512).content == .data)
        #expect(try device.extent(at: 512).range == 512..<4 * mebibyte)
        #expect(!device.readsAsZero(0..<512))
    }
}
