import BlockStorage
import DirtyBitmap
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// Images over images.
@Suite(.enabled(if: Qemu.isInstalled, Qemu.why))
struct ChainTests {
    /// A raw disk with something everywhere but for a hole at 256 KiB.
    static func raw(_ path: String, size: Int64, byte: UInt8) throws {
        var bytes = [UInt8](repeating: byte, count: Int(size))
        for index in stride(from: 0, to: bytes.count, by: 997) {
            bytes[index] = UInt8(truncatingIfNeeded: index / 997)
        }
        _ = FileManager.default.createFile(atPath: path, contents: Data(bytes))
        if size > 512 << 10 {
            try Shell.run("fallocate", "-p", "-o", "262144", "-l", "262144", path)
        }
    }

    @Test(
        arguments: [5 << 20, 3 << 20, 1025 << 10, 4097, 9 << 20] as [Int64],
        [5 << 20, (2 << 20) + 512, 7 << 20] as [Int64])
    func `three layers`(_ bottom: Int64, _ middle: Int64) throws {
        let scratch = try Scratch()
        try Self.raw(scratch.path("base.img"), size: bottom, byte: 0xb0)
        let below = scratch.path("middle.qcow2")
        try Qemu.create(
            below, size: middle, ["cluster_size=4096"], backing: ("base.img", "raw"))
        try Qemu.io(
            below, ["write -P 1 64k 100k", "write -z 300k 200k", "write -P 2 1m 8k"])
        let path = scratch.path("top.qcow2")
        try Qemu.create(path, size: 5 << 20, backing: ("middle.qcow2", "qcow2"))
        try Qemu.io(path, ["write -P 3 128k 64k", "write -z 1m 64k", "write -P 4 4m 64k"])
        try expectSameAsQemu(path, in: scratch)
        try expectSameAsQemu(path, in: scratch, cache: .buffered)
        try expectAllocationLikeQemu(path)
    }

    @Test func `subclusters over an image`() throws {
        let scratch = try Scratch()
        try Self.raw(scratch.path("base.img"), size: 2 << 20, byte: 0xb0)
        let path = scratch.path("top.qcow2")
        try Qemu.create(
            path, size: 2 << 20, ["extended_l2=on"], backing: ("base.img", "raw"))
        try Qemu.io(
            path,
            [
                "write -P 1 4k 2k", "write -z 10k 4k", "write -P 2 62k 4k", "write -z 128k 64k",
                "write -P 3 1m 256k", "discard 1088k 64k",
            ])
        try expectSameAsQemu(path, in: scratch)
        try expectAllocationLikeQemu(path)
    }

    /// A part of the chain reads as if the rest weren't there.
    @Test func `parts of a chain`() throws {
        let scratch = try Scratch()
        try Self.raw(scratch.path("base.img"), size: 1 << 20, byte: 0xb0)
        let below = scratch.path("middle.qcow2")
        try Qemu.create(below, size: 1 << 20, backing: ("base.img", "raw"))
        try Qemu.io(below, ["write -P 1 0 64k"])
        let path = scratch.path("top.qcow2")
        try Qemu.create(path, size: 1 << 20, backing: ("middle.qcow2", "qcow2"))
        try Qemu.io(path, ["write -P 2 64k 64k"])
        let found = try ReadBack(path)
        let chain = found.chain
        #expect(chain.layers.map(\.format) == [.qcow2, .qcow2, .raw])
        var expected = [UInt8](repeating: 0, count: 1 << 20)
        expected.replaceSubrange(65536..<131072, with: repeatElement(2, count: 65536))
        #expect(firstDifference(try found.mappedBytes(chain.map(layers: 0..<1)), expected) == nil)
        expected.replaceSubrange(0..<65536, with: repeatElement(1, count: 65536))
        #expect(firstDifference(try found.mappedBytes(chain.map(layers: 0..<2)), expected) == nil)
        #expect(firstDifference(try found.bytes(layers: 0..<2), expected) == nil)
        #expect(
            firstDifference(
                try found.mappedBytes(chain.map(layers: 1..<3)),
                try Qemu.bytes(of: below, in: scratch)) == nil)
        let alone = try ImageChain.open(
            FilePath(path), options: ChainOptions(format: .qcow2, opensBacking: false))
        #expect(alone.layers.count == 1)
    }

    /// A deeper layer that is longer than a middle one must not show through behind its end, and
    /// so that end counts as the middle layer's word.
    @Test func `what hides behind a short layer`() throws {
        let scratch = try Scratch()
        try Self.raw(scratch.path("base.img"), size: 4 << 20, byte: 0xb0)
        let below = scratch.path("middle.qcow2")
        try Qemu.create(below, size: 1 << 20, backing: ("base.img", "raw"))
        let path = scratch.path("top.qcow2")
        try Qemu.create(path, size: 3 << 20, backing: ("middle.qcow2", "qcow2"))
        try expectSameAsQemu(path, in: scratch)
        let chain = try ReadBack(path).chain
        let one = try chain.allocated(in: 0..<1, granularity: .default)
        let oneBytes = one.dirtyBytes
        #expect(oneBytes == 0)
        let two = try chain.allocated(in: 0..<2, granularity: .default)
        let (twoBytes, twoStart) = (two.dirtyBytes, two.nextDirty(from: 0))
        #expect(twoBytes == 2 << 20)
        #expect(twoStart == 1 << 20)
        let all = try chain.allocated(in: 0..<3, granularity: .default)
        let allBytes = all.dirtyBytes
        #expect(allBytes == 3 << 20)
    }

    @Test(arguments: [11, 12, 13, 14, 15, 16] as [UInt64])
    func `random histories`(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: RandomTest.seed(default: seed))
        let comment = Comment(rawValue: random.replay)
        let scratch = try Scratch()
        var backing: (String, String)?
        for depth in 0..<Int.random(in: 1...4, using: &random) {
            let path = scratch.path("layer-\(depth).qcow2")
            let cluster = 512 << Int.random(in: 0...8, using: &random)
            var options = ["cluster_size=\(cluster)"]
            if cluster >= 16384, random.chance(percent: 50) { options.append("extended_l2=on") }
            if random.chance(percent: 50) { options.append("compression_type=zstd") }
            let size = Int64.random(in: 1...6000, using: &random) * 512
            try Qemu.create(path, size: size, options, backing: backing)
            try Qemu.io(path, Self.history(size, cluster, &random))
            backing = (path, "qcow2")
            try expectSameAsQemu(path, in: scratch, comment)
            try expectAllocationLikeQemu(path, comment)
        }
    }

    /// Compressed writes come first and each to a cluster of its own: QEMU compresses nothing
    /// over what is there.
    static func history(
        _ size: Int64, _ cluster: Int, _ random: inout SeededGenerator
    ) -> [String] {
        var commands: [String] = []
        let whole = Int64(cluster)
        for index in 0..<(size / whole) where index < 20 && random.chance(percent: 20) {
            let byte = Int.random(in: 1...255, using: &random)
            commands.append("write -c -P \(byte) \(index * whole) \(whole)")
        }
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            let unit = random.chance(percent: 50) ? 512 : whole
            let offset = Int64.random(in: 0..<size, using: &random) / unit * unit
            let length = max(
                512, min(size - offset, unit * Int64.random(in: 1...40, using: &random)))
            let byte = Int.random(in: 1...255, using: &random)
            let ways = [
                "write -P \(byte)", "write -P \(byte)", "write -z", "write -z -u", "discard",
            ]
            let way = ways[Int.random(in: 0..<ways.count, using: &random)]
            commands.append("\(way) \(offset) \(length)")
        }
        return commands
    }

    /// The top layer has what QEMU calls present at depth 0. QEMU reports what lies behind a
    /// backing file's end as present too, which no cluster stands for.
    func expectAllocationLikeQemu(
        _ path: String, _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let chain = try ReadBack(path).chain
        let granularity = Granularity.min
        let found = try chain.allocated(in: 0..<1, granularity: granularity)
        var expected = DirtyBitmap(size: chain.size, granularity: granularity)
        for entry in try Qemu.map(path) where entry.depth == 0 && entry.present {
            expected.set(entry.start..<(entry.start + entry.length))
        }
        let isSame = found.isEqual(to: expected)
        #expect(isSame, comment, sourceLocation: sourceLocation)
    }
}
