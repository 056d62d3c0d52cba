import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import BlockStorage

/// Data that has no signature is in the way as well.
@Suite struct DataGuardTests {
    private let scratch: Scratch
    private let source: StorageDevice
    private static let size = 64 * mebibyte

    private static let layouts: [[Range<Int64>]] = [
        [0..<100 * mebibyte],
        [0..<4096, 50 * mebibyte..<50 * mebibyte + 1, 60 * mebibyte..<63 * mebibyte],
        (0..<256).map { Int64($0) * 65536..<Int64($0) * 65536 + 8192 },
        [17..<mebibyte + 18],
    ]

    init() throws {
        scratch = try Scratch()
        source = try openSource(scratch.file("source", size: Self.size))
    }

    private func found(
        _ path: String, _ options: TargetOptions = TargetOptions()
    ) -> (storage: String, place: DataInTheWay)? {
        guard
            case .holdsData(_, let storage, let place)? = refusal({
                try openTarget(path, for: source, options)
            })
        else {
            Issue.record("\(path) was taken")
            return nil
        }
        return (storage, place)
    }

    @Test(arguments: [0, 20_497, 34_603_009, 67_108_863] as [Int64])
    func `one byte of a file is found`(offset: Int64) throws {
        let target = try scratch.file("target", size: Self.size)
        _ = try openTarget(target, for: source)
        write(1, at: offset, to: target)
        let hit = try #require(found(target))
        #expect(hit.place == .nonzero(offset: offset))
        #expect(hit.storage.hasPrefix("\(Self.size) bytes, last written "))
        _ = try openTarget(target, for: source, TargetOptions(overwrite: true))
        _ = try openTarget(target, for: source, TargetOptions(holdsMirror: true))
    }

    @Test func `zeros are no data`() throws {
        let target = try scratch.file("target", size: Self.size)
        write(Int(3 * mebibyte), at: 5 * mebibyte, to: target, byte: 0)
        _ = try openTarget(target, for: source)
    }

    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops))
    func `a disk is sampled`() throws {
        let loop = try scratch.loop(size: Self.size)
        _ = try openTarget(loop.path, for: source)
        // A quarter of the disk, without its ends.
        write(Int(16 * mebibyte), at: 20 * mebibyte, to: loop.path)
        let hit = try #require(found(loop.path))
        guard case .nonzero(let offset) = hit.place else {
            Issue.record("\(hit.place)")
            return
        }
        #expect((20 * mebibyte..<36 * mebibyte).contains(offset))
        #expect(hit.storage.contains("\(Self.size) bytes"))
    }

    @Test(.enabled(if: Machine.canUseLoops, Machine.needsLoops))
    func `a format is made over nothing`() throws {
        let loop = try scratch.loop(size: Self.size)
        write(4, at: 0, to: loop.path)
        let options = TargetOptions(create: true, holdsMirror: true)
        guard
            case .holdsData? = refusal({
                try StorageDevice.openTarget(
                    FilePath(loop.path), apartFrom: [source], size: Self.size, options: options,
                    content: .format, signatureSource: source)
            })
        else {
            Issue.record("a format would be made over data")
            return
        }
    }

    @Test(arguments: Self.layouts)
    func `places lie in the stretches and are enough`(stretches: [Range<Int64>]) {
        let places = DataGuard.places(in: stretches)
        let length = stretches.map(\.count).reduce(0, +)
        for place in places {
            #expect(!place.isEmpty && stretches.contains { $0.contains(place) })
        }
        #expect(places.map(\.count).reduce(0, +) <= 2 * 65536 + 4096 * (stretches.count + 128))
        #expect(places.contains { $0.lowerBound == stretches[0].lowerBound })
        #expect(places.contains { $0.upperBound == stretches.last?.upperBound })
        for stretch in stretches {
            #expect(places.contains { $0.lowerBound == stretch.lowerBound })
        }
        // No gap is much longer than the distance of 64 places.
        let starts = places.map(\.lowerBound).sorted()
        let gaps = zip(starts, starts.dropFirst()).map { before, after in
            stretches.map { $0.clamped(to: before..<after).count }.reduce(0, +)
        }
        #expect(gaps.allSatisfy { $0 <= length / 64 + 65536 })
    }

    @Test func `what is short is read whole`() {
        let stretches: [Range<Int64>] = [0..<mebibyte / 2, mebibyte..<mebibyte + 4096]
        #expect(DataGuard.places(in: stretches) == stretches)
        #expect(DataGuard.places(in: []).isEmpty)
    }
}
