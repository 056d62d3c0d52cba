import DirtyBitmap
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage
@testable import MirrorEngine

/// Disks in a format of their own, mirrored and compared by real rings and threads.
@Suite(.timeLimit(.minutes(20))) struct DiskTests {
    /// A file of compressed pieces, as the simulation lays them out.
    private struct CompressedFile: SourceMap {
        let device: StorageDevice
        let layout: SimulatedMap
        let size: Int64

        var name: String { device.path.string }
        var endpoints: [Endpoint] { device.endpoints }
        var alignment: Int { layout.alignment }
        var unit: Int64 { layout.unit }
        var compressedLengthMax: Int { layout.compressedLengthMax }
        func sizeChange() throws(StorageError) -> SizeChange? { nil }
        func content(at offset: Int64) throws(StorageError) -> StorageExtent {
            try layout.content(at: offset)
        }
        func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
            try layout.locate(at: offset, limit: limit)
        }
    }

    private func compressedDisk(_ bytes: [UInt8], at path: String) throws -> Disk {
        let sample = PlaceTests.compressed(bytes, zeros: [3, 17])
        try Data(sample.disks[0].visibleBytes).write(to: URL(fileURLWithPath: path))
        let device = try StorageDevice.openSource(FilePath(path))
        let layout = PlaceTests.compressed(
            bytes, zeros: [3, 17], alignment: device.geometry.offsetAlignment)
        let own = device.geometry
        return Disk(
            path: device.path, format: "compressed", access: .readOnly,
            geometry: Geometry(
                size: Int64(bytes.count), logicalBlockSize: own.logicalBlockSize,
                physicalBlockSize: own.physicalBlockSize, memoryAlignment: own.memoryAlignment,
                offsetAlignment: own.offsetAlignment, optimalTransfer: nil, maxTransfer: nil,
                queueDepth: nil, isRotational: nil), identity: device.identity,
            caching: device.caching, resolvedPath: device.resolvedPath,
            devices: [device],
            sourceMap: { (size: Int64?) -> any SourceMap in
                CompressedFile(device: device, layout: layout, size: size ?? layout.size)
            }, targetMap: nil)
    }

    private func run(_ source: Disk, _ target: Disk, rings: Int) throws -> MirrorReport {
        var working = DirtyBitmap(size: source.geometry.size)
        working.setAll()
        var options = MirrorOptions()
        options.rings = rings
        let job = try MirrorJob(
            from: source, to: target, working: working, options: options, logger: nil,
            decompressing: { RunLengthCode() })
        return job.runAndWait()
    }

    private func compare(_ first: Disk, _ second: Disk) -> CompareReport {
        var runs = DirtyBitmap(size: first.geometry.size)
        runs.setAll()
        return CompareJob(
            first, second, only: runs, isPrefix: false, isWatched: false,
            decompressing: { RunLengthCode() }
        ).runAndWait()
    }

    /// What was compressed comes out on a raw disk, and both are found to be the same.
    @Test(arguments: [1, 3])
    func `a compressed disk is mirrored`(rings: Int) throws {
        let scratch = try Scratch()
        let bytes = [UInt8].pattern(3 << 20, seed: 5)
        let source = try compressedDisk(bytes, at: scratch.path("compressed"))
        let path = scratch.path("target")
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.truncate(atOffset: UInt64(bytes.count))
        let raw = scratch.path("raw")
        #expect(FileManager.default.createFile(atPath: raw, contents: Data(bytes)))
        let target = Disk(
            try StorageDevice.openTarget(
                FilePath(path), for: StorageDevice.openSource(FilePath(raw))))
        #expect(target.format == "raw" && target.access == .readWrite)
        let report = try run(source, target, rings: rings)
        #expect(report.outcome.isMirrored)
        let expected = bytes.zeroing([48 << 10..<64 << 10, 272 << 10..<288 << 10])
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(expected))
        #expect(compare(source, target).isIdentical)

        try handle.seek(toOffset: 1_000_000)
        try handle.write(contentsOf: Data([bytes[1_000_000] ^ 1]))
        let found = compare(source, target)
        #expect(found.firstDifference == 1_000_000 && found.differingBytes == 1)
    }

    /// A disk whose clusters can't be decompressed ends the job, and the comparison.
    @Test func `damage ends the job`() throws {
        let scratch = try Scratch()
        let bytes = [UInt8].pattern(1 << 20, seed: 5)
        let source = try compressedDisk(bytes, at: scratch.path("compressed"))
        let path = scratch.path("compressed")
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.truncate(atOffset: 2000)
        let raw = scratch.path("raw")
        #expect(FileManager.default.createFile(atPath: raw, contents: Data(bytes)))
        let other = Disk(try StorageDevice.openSource(FilePath(raw)))
        let error = try #require(compare(source, other).error?.transfer)
        #expect(error.side == .source && error.cause == .corruptData)
    }
}
