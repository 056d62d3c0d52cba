import BlockStorage
import DirtyBitmap
import SystemPackage
import TestSupport
import Testing

@testable import QCOW2

/// Images as QEMU makes them, read and compared with what QEMU reads.
@Suite(.enabled(if: Qemu.isInstalled, Qemu.why))
struct ReadingTests {
    static let layouts: [[String]] =
        [512, 4096, 65536, 2 << 20].flatMap { cluster in
            ["0.10", "1.1"].map { ["cluster_size=\(cluster)", "compat=\($0)"] }
        } + [
            ["cluster_size=16384", "extended_l2=on"],
            ["extended_l2=on"],
            ["cluster_size=2097152", "extended_l2=on"],
            ["compression_type=zstd"],
            ["refcount_bits=1"],
            ["preallocation=metadata"],
        ]

    static let writes = [
        "write -P 17 0 4k", "write -P 18 100k 200k", "write -P 19 1m 1m", "write -P 20 1500k 64k",
        "write -P 21 3m 512", "write -P 22 5242368 512",
    ]

    @Test(arguments: layouts)
    func `plain writes`(_ layout: [String]) throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 5 << 20, layout)
        try expectSameAsQemu(path, in: scratch, "nothing written")
        try Qemu.io(path, Self.writes)
        try expectSameAsQemu(path, in: scratch)
        try expectSameAsQemu(path, in: scratch, cache: .buffered)
    }

    @Test(arguments: layouts)
    func `zeros and discards`(_ layout: [String]) throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 5 << 20, layout)
        try Qemu.io(
            path,
            Self.writes + [
                "write -z 64k 128k", "write -z -u 1m 256k", "write -z 1400k 4k",
                "discard 1600k 256k", "write -z 4m 128k", "write -P 33 1m 12k",
            ])
        try expectSameAsQemu(path, in: scratch)
    }

    @Test(arguments: ["zlib", "zstd"], [512, 4096, 65536, 2 << 20])
    func `compressed clusters`(_ compression: String, _ cluster: Int) throws {
        let scratch = try Scratch()
        let plain = scratch.path("plain.qcow2")
        let packed = scratch.path("packed.qcow2")
        try Qemu.create(plain, size: 5 << 20)
        try Qemu.io(plain, Self.writes)
        try Shell.run(
            "qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o",
            "cluster_size=\(cluster),compression_type=\(compression)", plain, packed)
        let compressed = try ReadBack(packed).chain.allocation()[0].compressedClusters
        #expect(compressed > 0)
        try expectSameAsQemu(packed, in: scratch)
        // Writes take clusters out of what is compressed.
        try Qemu.io(packed, ["write -P 44 130k 100k", "write -z 1100k 300k", "write -P 1 0 512"])
        try expectSameAsQemu(packed, in: scratch)
    }

    @Test func `compressed subclusters`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 2 << 20, ["extended_l2=on"])
        try Qemu.io(
            path, ["write -c -P 5 0 64k", "write -c -P 6 128k 64k", "write -P 7 130k 2k"])
        try expectSameAsQemu(path, in: scratch)
    }

    @Test(arguments: ["off", "on"])
    func `a data file`(_ isRaw: String) throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(
            path, size: 5 << 20, ["data_file=\(scratch.path("a.data"))", "data_file_raw=\(isRaw)"])
        try Qemu.io(path, Self.writes + ["write -z 64k 128k", "discard 1600k 256k"])
        try expectSameAsQemu(path, in: scratch)
        let found = try ReadBack(path)
        #expect(found.chain.map().compressedLengthMax == 0)
        #expect(found.chain.top.dataDevice != nil)
    }

    /// To QEMU a relative name of a data file starts where QEMU runs, to us where the image is.
    @Test func `a data file that is named relatively`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 1 << 20, ["data_file=\(scratch.path("a.data"))"])
        try Qemu.io(path, ["write -P 1 0 128k"])
        let expected = try Qemu.bytes(of: path, in: scratch)
        try Shell.run("qemu-img", "amend", "-f", "qcow2", "-o", "data_file=a.data", path)
        #expect(firstDifference(try ReadBack(path).bytes(), expected) == nil)
    }

    @Test(arguments: [1025 << 10, 4097, 512, 0, 65536 * 3 + 512] as [Int64])
    func `odd sizes`(_ size: Int64) throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: size)
        if size > 0 { try Qemu.io(path, ["write -P 9 \(max(0, (size - 1) / 512 * 512)) 512"]) }
        let chain = try ReadBack(path).chain
        #expect(chain.size == (size + 511) / 512 * 512)
        try expectSameAsQemu(path, in: scratch)
    }

    @Test func `internal snapshots`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 3 << 20)
        try Qemu.io(path, ["write -P 1 0 1m"])
        try Shell.run("qemu-img", "snapshot", "-c", "first one", path)
        try Qemu.io(path, ["write -P 2 512k 1m", "write -z 0 64k"])
        try Shell.run("qemu-img", "snapshot", "-c", "second", path)
        try Qemu.io(path, ["write -P 3 700k 1m"])
        try expectSameAsQemu(path, in: scratch)
        let snapshots = try ReadBack(path).chain.top.snapshots
        #expect(snapshots.map(\.name) == ["first one", "second"])
        #expect(snapshots.map(\.id) == ["1", "2"])
        #expect(snapshots.map(\.size) == [3 << 20, 3 << 20])
        #expect(snapshots.allSatisfy { $0.seconds > 1_600_000_000 && $0.stateBytes == 0 })
    }

    /// The last cluster of a file need not be whole, and a file that misses more was cut off.
    @Test func `a file that ends early`() throws {
        let scratch = try Scratch()
        let path = scratch.path("a.qcow2")
        try Qemu.create(path, size: 1 << 20)
        try Qemu.io(path, ["write -P 1 0 64k", "write -P 2 64k 64k", "write -P 3 128k 64k"])
        try Shell.run("truncate", "-s", "-30001", path)
        try expectSameAsQemu(path, in: scratch)
        try Shell.run("truncate", "-s", "-65536", path)
        let found = try ReadBack(path)
        #expect(try found.chain.read(at: 0, count: 65536).allSatisfy { $0 == 1 })
        let error = #expect(throws: StorageError.self) {
            _ = try found.chain.read(at: 128 << 10, count: 512)
        }
        #expect(error?.description.contains("the file ends") == true)
    }

    @Test(
        .enabled(if: LoopDevice.isAvailable, "needs root and loop devices"), arguments: [512, 4096])
    func `an image on a block device`(_ sector: Int) throws {
        let scratch = try Scratch()
        let loop = try scratch.loop(size: 16 << 20, sectorSize: sector)
        try Shell.run("qemu-img", "create", "-q", "-f", "qcow2", loop.path, "5M")
        try Qemu.io(loop.path, Self.writes, format: "qcow2,file.driver=host_device")
        let expected = try Qemu.bytes(of: loop.path, in: scratch)
        let found = try ReadBack(loop.path)
        let map = found.chain.map()
        #expect(map.alignment == sector)
        #expect(firstDifference(try found.mappedBytes(map), expected) == nil)
    }
}
