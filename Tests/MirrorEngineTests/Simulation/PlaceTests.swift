import BlockStorage
import DirtyBitmap
import Foundation
import Ring
import Testing

@testable import MirrorEngine

/// Sources whose bytes are compressed, or nowhere.
@Suite(.timeLimit(.minutes(20))) struct PlaceTests {
    static let pieceSize = 16 << 10

    /// A source of compressed pieces, some of them zero.
    static func compressed(
        _ bytes: [UInt8], zeros: Set<Int> = [], alignment: Int = 512, isTarget: Bool = false
    ) -> SimulatedMap {
        var image: [UInt8] = []
        let places = stride(from: 0, to: bytes.count, by: pieceSize).enumerated().map {
            index, start -> SimulatedMap.Place in
            if zeros.contains(index) { return .init(disk: 0, offset: 0, form: .zero) }
            image += [UInt8](repeating: 0xEE, count: 100)
            let code = RunLengthCode.compress(bytes[start..<min(start + pieceSize, bytes.count)])
            defer { image += code }
            return .init(disk: 0, offset: Int64(image.count), form: .compressed(code.count + 300))
        }
        var map = SimulatedMap(
            scattered: [SimulatedDisk(image)], size: Int64(bytes.count),
            pieceSize: Int64(pieceSize), places: places, alignment: alignment, isTarget: isTarget)
        map.unit = Int64(pieceSize)
        map.hidesZeros = true
        return map
    }

    private let bytes = [UInt8].pattern(256 << 10, seed: 1)

    private func simulation(
        _ source: SimulatedMap, _ setup: Simulation.Setup = Simulation.Setup()
    ) throws -> Simulation {
        let garbage = SimulatedDisk([UInt8].pattern(Int(source.size), seed: 2))
        return try Simulation(
            from: source, to: SimulatedMap(raw: garbage, isTarget: true), setup)
    }

    private func corrupt(_ source: SimulatedMap, piece: Int) {
        let start = Int(source.places[piece].offset)
        var fault = SimulatedDisk.Fault(bytes: start..<(start + 1), directions: [.read])
        fault.corrupts = true
        source.disks[0].add(fault)
    }

    /// Clusters come out of few buffers into many slots, whatever a cluster and a request have to
    /// do with each other.
    @Test(arguments: [4096, 64 << 10], 1...10 as ClosedRange<UInt64>)
    func `compressed clusters are decompressed`(requestSize: Int, seed: UInt64) throws {
        var setup = Simulation.Setup()
        setup.requestSize = requestSize
        setup.depth = seed % 2 == 0 ? 1 : 16
        setup.behaviour.seed = seed
        setup.behaviour.isShuffling = true
        let simulation = try simulation(
            Self.compressed(Array(bytes.dropLast(700)), zeros: [3, 4, 9]), setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        let isRead = simulation.job.counters.read.value
        #expect(isRead == simulation.planned - 3 * Int64(Self.pieceSize))
    }

    /// Nothing is decompressed twice because a run ended in a cluster.
    @Test func `each cluster is read once`() throws {
        var setup = Simulation.Setup()
        setup.requestSize = 4096
        let simulation = try simulation(Self.compressed(bytes), setup)
        #expect(try simulation.run().isMirrored)
        let clusters = bytes.count / Self.pieceSize
        #expect(simulation.job.counters.read.value == simulation.planned)
        #expect(simulation.kernel.count(.pollIn) <= clusters)
    }

    /// A part of a cluster is the part that is dirty.
    @Test func `parts of clusters are taken`() throws {
        var setup = Simulation.Setup()
        setup.granularity = 4096
        setup.dirty = [4096..<8192, 20 << 10..<40 << 10]
        let simulation = try simulation(Self.compressed(bytes), setup)
        let before = simulation.target.bytes()
        #expect(try simulation.run().isMirrored)
        var expected = before
        for range in setup.dirty! {
            let part = Int(range.lowerBound)..<Int(range.upperBound)
            expected.replaceSubrange(part, with: bytes[part])
        }
        #expect(simulation.target.bytes(durable: true) == expected)
    }

    // MARK: damage

    @Test func `damage is reported`() throws {
        let source = Self.compressed(bytes)
        corrupt(source, piece: 5)
        let error = try #require(try simulation(source).run().error?.transfer)
        #expect(error.side == .source && error.cause == .corruptData)
        #expect(error.offset == 5 * 16384 && error.count == 16384)
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func `damage is ignored`(seed: UInt64) throws {
        let source = Self.compressed(bytes)
        corrupt(source, piece: 5)
        let simulation = try simulation(source, .large(source: .ignore, seed: seed))
        guard case .incomplete(let count, let first, _) = try simulation.run().error else {
            Issue.record("not what could not be copied")
            return
        }
        let damaged = 5 * Int64(Self.pieceSize)..<6 * Int64(Self.pieceSize)
        #expect(count == 16384 && first == damaged.lowerBound)
        let difference = simulation.target.bytes(durable: true).firstDifference(from: bytes) {
            start, _ in !damaged.contains(Int64(start))
        }
        #expect(difference == nil)
    }

    /// Both what can't be read and what can't be decompressed is tried again.
    @Test(arguments: [false, true])
    func `a job stops at damage`(isUnreadable: Bool) throws {
        let source = Self.compressed(bytes)
        if isUnreadable {
            let start = Int(source.places[7].offset)
            source.disks[0].add(.init(bytes: start..<(start + 1), directions: [.read]))
        } else {
            corrupt(source, piece: 7)
        }
        let simulation = try simulation(source, .large(source: .stop))
        simulation.start()
        try simulation.waitForPause()
        let error = try #require(simulation.job.control.pausedBy?.transfer)
        #expect(error.cause == (isUnreadable ? .errno(EIO) : .corruptData))
        source.disks[0].heal()
        simulation.job.control.resume()
        #expect(try simulation.finish(atPause: {}).isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    /// A ring that breaks at any moment must not leave anybody waiting for a decompression.
    @Test(arguments: 1...30)
    func `a job fails when the ring breaks`(step: Int) throws {
        var setup = Simulation.Setup()
        setup.behaviour.isShuffling = true
        setup.behaviour.ringErrorAtStep = step
        let simulation = try simulation(Self.compressed(bytes), setup)
        let outcome = try simulation.run()
        #expect(simulation.kernel.stepCount < step || outcome.error != nil)
        #expect(simulation.firstUnclaimedDifference(durable: false) == nil)
    }

    // MARK: a file that ends off the block, with zeros behind it

    /// As of a short backing file: stored up to a byte, and zero from there on.
    private struct ShortSource: SourceMap {
        let file: SimulatedMap
        let size: Int64
        var name: String { file.name }
        var endpoints: [Endpoint] { file.endpoints }
        var alignment: Int { file.alignment }
        func sizeChange() throws(StorageError) -> SizeChange? { nil }
        func content(at offset: Int64) throws(StorageError) -> StorageExtent {
            StorageExtent(range: offset..<size, content: .data)
        }
        func locate(at offset: Int64, limit: Int64) throws(StorageError) -> SourcePlace {
            if offset >= file.size { return .zero(length: limit - offset) }
            return try file.locate(at: offset, limit: min(limit, file.size))
        }
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `zeros behind a read stay zero`(seed: UInt64) throws {
        let stored = Array(bytes[..<70_001])
        let file = SimulatedMap(raw: SimulatedDisk(stored), isTarget: false)
        let source = ShortSource(file: file, size: 256 << 10)
        let target = SimulatedMap(
            raw: SimulatedDisk([UInt8].pattern(256 << 10, seed: 2)), isTarget: true)
        var options = MirrorOptions()
        options.zeroes = .write
        let plan = JobPlan(
            source: source, target: target, options: options, requestSize: 64 << 10, depth: 2,
            bufferBytes: 128 << 10)
        var working = DirtyBitmap(size: source.size)
        working.setAll()
        let job = SharedJob(plan: plan, working: working, speedLimit: nil, workers: 1)
        var behaviour = SimulatedKernel.Behaviour()
        behaviour.seed = seed
        behaviour.isShuffling = true
        let kernel = SimulatedKernel(
            files: file.files + target.files, requestSize: 64 << 10, zeroArea: plan.zeroArea,
            behaviour: behaviour)
        WorkerCrew.run(job, workers: 1) {
            SimulatedDecompression(kernel)
        } makeQueue: {
            plan, _ throws(RingError) in
            try SimulatedQueue(kernel: kernel, depth: plan.depth, byteCount: plan.slabBytes)
        }
        #expect(job.outcome().isMirrored)
        #expect(kernel.violations == [])
        let zeros = [UInt8](repeating: 0, count: Int(source.size) - stored.count)
        #expect(target.bytes(durable: true) == stored + zeros)
    }
}
