import BlockStorage
import DirtyBitmap
import Foundation
import Ring
import TestSupport
import Testing

@testable import MirrorEngine

/// Jobs whose sides are behind drivers of their own, beside files of the ring and among themselves.
@Suite(.timeLimit(.minutes(10))) struct EndpointTests {
    /// A disk in memory, of which each queue gets an endpoint.
    private struct MemoryMap: SourceMap, TargetMap {
        let store: MemoryStore
        let seed: UInt64

        var name: String { "memory" }
        var size: Int64 { Int64(store.bytes.count) }
        var alignment: Int { 512 }
        var endpoints: [Endpoint] {
            let (store, seed) = (store, seed)
            return [
                .driver { () throws(RingError) in try MemoryEndpoint(store, seed: seed) }
            ]
        }
        var controlFile: Int { 0 }
        var startsZero: Bool { false }
        var zeroesPlaces: Bool { false }
        func sizeChange() throws(StorageError) -> SizeChange? { nil }
        func readsAsZero(_ range: Range<Int64>) -> Bool { false }
        func content(at offset: Int64) throws(StorageError) -> StorageExtent {
            StorageExtent(range: offset..<size, content: .data)
        }
        func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
            .stored(try place(at: offset, limit: limit))
        }
        func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent {
            HostExtent(file: 0, hostOffset: offset, length: limit - offset, alignment: 512)
        }
    }

    /// Where the driver is.
    enum Sides: CaseIterable {
        case source, target, both
    }

    private func run(
        from source: any SourceMap, to target: any TargetMap, rings: Int, _ method: IOMethod
    ) -> SharedJob {
        let plan = JobPlan(
            source: source, target: target, options: MirrorOptions(), requestSize: 64 << 10,
            depth: 8, bufferBytes: 512 << 10)
        var working = DirtyBitmap(size: source.size)
        working.setAll()
        let job = SharedJob(plan: plan, working: working, speedLimit: nil, workers: rings)
        WorkerCrew.run(
            job, workers: rings, method: method,
            makeDecompressionDriver: { () throws(RingError) in
                preconditionFailure("nothing is compressed")
            },
            note: { _ in })
        return job
    }

    @Test(arguments: Sides.allCases, [IOMethod.automatic, .threads])
    func `a side behind a driver is mirrored`(_ sides: Sides, _ method: IOMethod) throws {
        let scratch = try Scratch()
        var generator = RandomTest.generator(defaultSeed: 3)
        var bytes = [UInt8].pattern(3 << 20, seed: 5)
        bytes.replaceSubrange(1 << 20..<2 << 20, with: [UInt8](repeating: 0, count: 1 << 20))
        let old = [UInt8].pattern(bytes.count, seed: 6)
        let (path, copy) = (scratch.path("source"), scratch.path("target"))
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        try Data(old).write(to: URL(fileURLWithPath: copy))
        let file = try StorageDevice.openSource(.init(path))
        let other = try StorageDevice.openTarget(
            .init(copy), for: file, options: TargetOptions(overwrite: true))
        let (first, second) = (MemoryStore(bytes), MemoryStore(old))
        let source: any SourceMap =
            sides == .target ? RawMap(file) : MemoryMap(store: first, seed: generator.next())
        let target: any TargetMap =
            sides == .source ? RawMap(other) : MemoryMap(store: second, seed: generator.next())
        for rings in [1, 3] {
            let job = run(from: source, to: target, rings: rings, method)
            #expect(job.outcome().isMirrored, "\(job.outcome())")
            let found =
                sides == .source
                ? [UInt8](try Data(contentsOf: URL(fileURLWithPath: copy))) : second.bytes
            #expect(found == bytes)
        }
        #expect(first.bytes == bytes)
    }

    /// A connection that can't be had ends the job with its error.
    @Test func `an endpoint that can't be made is an error of the job`() {
        struct Refused: SourceMap {
            let map: MemoryMap
            var name: String { map.name }
            var size: Int64 { map.size }
            var alignment: Int { map.alignment }
            var endpoints: [Endpoint] {
                [
                    .driver { () throws(RingError) in
                        throw .systemCall("connect", code: ECONNREFUSED)
                    }
                ]
            }
            func sizeChange() throws(StorageError) -> SizeChange? { nil }
            func content(at offset: Int64) throws(StorageError) -> StorageExtent {
                try map.content(at: offset)
            }
            func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
                try map.locate(at: offset, limit: limit)
            }
        }
        let map = MemoryMap(store: MemoryStore([UInt8](repeating: 1, count: 1 << 20)), seed: 1)
        let job = run(from: Refused(map: map), to: map, rings: 2, .automatic)
        guard case .failed(.ring(.systemCall("connect", code: ECONNREFUSED))) = job.outcome() else {
            Issue.record("\(job.outcome())")
            return
        }
    }
}
