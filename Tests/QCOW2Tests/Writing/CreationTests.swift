import BlockStorage
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

@Suite struct CreationTests {
    struct Kind: Sendable, CustomTestStringConvertible {
        var size: Int64
        var cluster: Int64 = 65536
        var bits = 16
        var extended = false
        var preallocated = false
        var lazy = false
        var backing: String?
        var testDescription: String {
            "\(size) \(cluster) \(bits) \(extended) \(preallocated) \(lazy) \(backing ?? "")"
        }
    }

    static let kinds: [Kind] = [
        Kind(size: 0), Kind(size: 512), Kind(size: 1 << 30), Kind(size: (1 << 30) + 512),
        Kind(size: 1 << 50, cluster: 2 << 20), Kind(size: 8 << 40),
        Kind(size: 4 << 30, cluster: 512), Kind(size: 4 << 30, cluster: 512, bits: 64),
        // Its L1 table needs as many blocks as a grown refcount table has entries.
        Kind(size: 63 << 30, cluster: 512),
        Kind(size: 10 << 20, cluster: 512, bits: 1), Kind(size: 10 << 20, cluster: 1024, bits: 2),
        Kind(size: 10 << 20, cluster: 4096, bits: 4), Kind(size: 10 << 20, bits: 8, lazy: true),
        Kind(size: 10 << 20, cluster: 2048, bits: 32),
        Kind(size: 10 << 30, cluster: 16384, extended: true),
        Kind(size: 10 << 30, cluster: 131072, extended: true, lazy: true),
        Kind(size: 100 << 20, preallocated: true),
        Kind(size: (3 << 20) + 512, cluster: 512, bits: 64, preallocated: true),
        Kind(size: 9 << 20, cluster: 512, preallocated: true),
        Kind(size: 100 << 20, cluster: 131072, extended: true, preallocated: true),
        Kind(size: 0, preallocated: true),
        Kind(size: 10 << 20, backing: "base.raw"),
        Kind(
            size: 10 << 20, cluster: 131072, extended: true, preallocated: true, backing: "base.raw"
        ),
    ]

    @Test(.enabled(if: Judge.isInstalled), arguments: kinds)
    func `a new image is what QEMU takes it for`(_ kind: Kind) throws {
        let scratch = try Scratch()
        let path = scratch.path("new.qcow2")
        var options = NewImageOptions(size: kind.size)
        options.clusterSize = kind.cluster
        options.refcountBits = kind.bits
        options.extendedL2 = kind.extended
        options.preallocatesMetadata = kind.preallocated
        options.lazyRefcounts = kind.lazy
        options.backingFile = kind.backing
        if kind.backing != nil {
            options.backingFormat = "raw"
            try Data(repeating: 7, count: 1 << 20)
                .write(to: URL(fileURLWithPath: scratch.path("base.raw")))
        }
        let file = try PlainFile(path)
        let header = try options.create(in: file)
        #expect(try Header.read(from: file) == header)
        try Judge.check(path)
        let info = try #require(
            JSONSerialization.jsonObject(
                with: Data(
                    try Shell.run("qemu-img", "info", "--output=json", path).utf8))
                as? [String: Any])
        #expect(info["virtual-size"] as? Int64 == kind.size)
        #expect(info["cluster-size"] as? Int64 == kind.cluster)
        #expect(info["backing-filename"] as? String == kind.backing)
        let data = (info["format-specific"] as? [String: Any])?["data"] as? [String: Any]
        #expect(data?["refcount-bits"] as? Int == kind.bits)
        #expect(data?["lazy-refcounts"] as? Bool == kind.lazy)
        #expect(data?["extended-l2"] as? Bool == kind.extended)
        #expect(data?["compat"] as? String == "1.1")
        guard kind.size <= 128 << 20 else { return }
        let bytes = try Judge.content(path)
        #expect(bytes.count == Int(kind.size))
        let seven = bytes.lastIndex(of: 7).map { $0 + 1 } ?? 0
        #expect(seven == (kind.backing == nil ? 0 : 1 << 20))
        #expect(!bytes[seven...].contains { $0 != 0 })
    }

    @Test func `a new image on a disk covers what the disk held`() throws {
        for isPreallocated in [false, true] {
            let disk = MemoryImage([UInt8](repeating: 0xff, count: 8 << 20))
            var options = NewImageOptions(size: 4 << 20)
            options.preallocatesMetadata = isPreallocated
            _ = try options.create(in: disk)
            let image = NaiveImage(bytes: disk.content)
            #expect(image.problems(strict: true) == [])
            for offset in stride(from: 0, to: 4 << 20, by: 65536) {
                #expect(image.sector(at: offset)?.contains { $0 != 0 } != true)
            }
        }
    }

    /// Nothing tells beforehand how many clusters of which kind are taken in which order.
    @Test func `an image takes at most what its options say`() throws {
        var random = RandomTest.generator(defaultSeed: 77)
        let scratch = try Scratch()
        for round in 0..<RandomTest.events(default: 40) {
            var options = NewImageOptions(size: 0)
            options.clusterSize = 512 << Int64.random(in: 0...3, using: &random)
            options.refcountBits = 1 << Int.random(in: 0...6, using: &random)
            // Up to half of what a header allows, in which all ways to place an L1 table occur.
            let entryBits = Int64.random(in: 0...21, using: &random)
            let entries = Int64.random(in: 0...(1 << entryBits), using: &random)
            options.size = entries * options.l2Coverage
            let path = scratch.path("image-\(round)")
            let file = try PlainFile(path)
            let header = try options.create(in: file)
            let empty = try file.length()
            let comment: Comment = "\(options), round \(round), \(random.replay)"
            #expect(empty <= options.emptyBytesMax, comment)
            let writer = try ImageWriter(file, header)
            var (clusters, tables): (Int64, Int64) = (0, 0)
            let stepBits = Int.random(in: 0...8, using: &random)
            for _ in 0..<Int.random(in: 0...(1 << stepBits), using: &random) {
                if random.chance(percent: 20) {
                    _ = try writer.allocateTable()
                    tables += 1
                } else {
                    let most = Int.random(in: 1...200, using: &random)
                    clusters += Int64(try writer.allocateData(upTo: most).count)
                }
            }
            try writer.flushRefcounts()
            try writer.truncate(floor: empty)
            let most = options.fileBytesMax(clusters: clusters, l2Tables: tables)
            #expect(try file.length() <= most, comment)
            unlink(path)
        }
    }

    @Test func `what can't be is refused, with what can be`() throws {
        func refused(_ change: (inout NewImageOptions) -> Void) -> String {
            var options = NewImageOptions(size: 1 << 20)
            change(&options)
            let file = MemoryImage()
            do {
                _ = try options.create(in: file)
                return "made"
            } catch {
                #expect(file.events.isEmpty)
                return "\(error)"
            }
        }
        #expect(refused { $0.clusterSize = 3000 }.contains("64K is usual"))
        #expect(refused { $0.clusterSize = 4 << 20 }.contains("64K is usual"))
        #expect(refused { $0.refcountBits = 12 }.contains("16 is usual"))
        #expect(refused { $0.size = -1 }.contains("can't have -1 bytes"))
        #expect(refused { $0.size = .max }.contains("At most"))
        #expect(
            refused {
                $0.size = (128 << 30) + 1
                $0.clusterSize = 512
            }.contains("At most 137438953472"))
        #expect(
            refused {
                $0.extendedL2 = true
                $0.clusterSize = 8192
            }.contains("16K"))
        #expect(refused { $0.backingFormat = "raw" }.contains("no backing file"))
        #expect(refused { $0.backingFile = "" }.contains("0 bytes"))
        #expect(
            refused {
                $0.backingFile = "x"
                $0.preallocatesMetadata = true
            }.contains("hide"))
        #expect(
            refused {
                $0.backingFile = String(repeating: "x", count: 600)
                $0.clusterSize = 512
            }.contains("does not fit"))
    }
}
