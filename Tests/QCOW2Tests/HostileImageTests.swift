import BlockStorage
import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// Images that somebody damaged, on purpose or not: an error or an answer, and neither a crash nor
/// endless work.
@Suite(.enabled(if: Qemu.isInstalled, Qemu.why))
struct HostileImageTests {
    static let layouts: [[String]] = [
        ["cluster_size=512"], ["cluster_size=4096", "compression_type=zstd"],
        ["cluster_size=16384", "extended_l2=on"], ["cluster_size=4096", "compat=0.10"],
    ]

    @Test(arguments: layouts)
    func `mutated images are read safely`(_ layout: [String]) throws {
        var random = RandomTest.generator(defaultSeed: 71)
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Shell.run("qemu-img", "create", "-q", "-f", "raw", scratch.path("base"), "1M")
        try Qemu.create(path, size: 1 << 20, layout, backing: ("base", "raw"))
        try Qemu.io(
            path,
            [
                "write -c -P 1 0 16k", "write -P 2 64k 32k", "write -z 32k 16k",
                "write -P 3 800k 512",
            ])
        try Shell.run("qemu-img", "snapshot", "-c", "one", path)
        try Qemu.io(path, ["write -P 5 80k 32k"])
        let good = try Qemu.read(path)
        try exercise(good)
        for _ in 0..<RandomTest.events(default: 400) {
            let bytes = mutated(good, &random)
            do {
                try exercise(bytes)
            } catch let error as StorageError {
                #expect(!error.description.isEmpty)
            } catch {
                Issue.record("\(error), \(random.replay)")
            }
        }
    }

    private func mutated(_ good: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = good
        if random.chance(percent: 10) {
            bytes.removeLast(Int.random(in: 0..<good.count, using: &random))
        }
        guard bytes.count > 512 else { return bytes }
        let cluster = 1 << min(21, Int(bytes.bigEndian32(at: 20)))
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let limit = random.chance(percent: 40) ? 160 : min(bytes.count, 12 * cluster)
            let offset = Int.random(in: 0..<(limit / 8 - 1), using: &random) * 8
            let words: [UInt64] = [
                0, 1, .max, 1 << 63, 1 << 62, UInt64(cluster), UInt64(bytes.count),
                UInt64(cluster) * 3 | 1 << 63, 0xffff_ffff, random.next(),
                bytes.bigEndian64(at: offset) ^ 1 << UInt64.random(in: 0...63, using: &random),
            ]
            bytes.put(words[Int.random(in: 0..<words.count, using: &random)], at: offset)
        }
        return bytes
    }

    /// Everything that the reader can be asked about an image.
    private func exercise(_ bytes: [UInt8]) throws {
        let file = HeldImage(bytes)
        defer {
            #expect(file.bytesRead <= 40 << 20)
            #expect(file.largestRead <= 64 << 20)
        }
        let layer = try Layer(try Header.read(from: file), file: file)
        let chain = ImageChain(layers: [layer])
        let map = chain.map()
        let limit = min(map.size, 4 << 20)
        var offset: Int64 = 0
        while offset < limit {
            let extent = try map.content(at: offset)
            #expect(extent.range.lowerBound == offset && !extent.range.isEmpty)
            let end = min(limit, extent.range.upperBound)
            var cursor = offset
            while cursor < end {
                let place = try map.locate(at: cursor, limit: end)
                #expect(place.length > 0 && place.length <= end - cursor)
                cursor += place.length
            }
            offset = extent.range.upperBound
        }
        _ = try chain.read(at: 0, count: Int(limit))
        _ = try chain.allocation()
        _ = try chain.allocated(in: 0..<1, granularity: .max)
    }
}
