import BlockStorage
import DirtyBitmap
import Foundation
import Ring
import TestSupport
import Testing

@testable import MirrorEngine

/// Comparisons of simulated disks.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct CompareTests {
    /// One comparison, over a queue of the simulation, on a thread of its own.
    final class Comparison: @unchecked Sendable {
        let state: SharedComparison
        let kernel: SimulatedKernel
        private let sizes: (Int64, Int64)
        private let end = DispatchSemaphore(value: 0)
        init(
            _ first: SimulatedMap, _ second: SimulatedMap, requestSize: Int = 64 << 10,
            depth: Int = 3, granularity: Int64 = 64 << 10,
            isBuffered: (Bool, Bool) = (false, false),
            purpose: ComparisonPurpose = ComparisonPurpose(),
            _ behaviour: SimulatedKernel.Behaviour = .init()
        ) throws {
            let size = min(first.size, second.size)
            var runs = DirtyBitmap(size: size, granularity: try Granularity(bytes: granularity))
            runs.setAll()
            sizes = (first.size, second.size)
            state = SharedComparison(
                first, second, runs: runs, requestSize: requestSize, depth: depth,
                isBuffered: isBuffered, purpose: purpose)
            let slab = state.slabBytes
            kernel = SimulatedKernel(
                files: first.files + second.files, requestSize: requestSize, zeroArea: slab..<slab,
                behaviour: behaviour)
        }

        func run(sourceLocation: SourceLocation = #_sourceLocation) throws -> CompareReport {
            Thread.detachNewThread { [self] in
                work()
                end.signal()
            }
            guard end.wait(timeout: .now() + Simulation.patience) == .success
            else { throw Simulation.Hang() }
            for violation in kernel.violations {
                Issue.record("\(violation)", sourceLocation: sourceLocation)
            }
            return state.report(sizes: sizes, seconds: 1)
        }

        private func work() {
            let pool = DecompressionPool { RunLengthCode() }
            defer { pool.close() }
            do throws(RingError) {
                switch kernel.behaviour.queue {
                case .ring:
                    let decompression = state.hasCompressed ? SimulatedDecompression(kernel) : nil
                    compare(
                        over: try kernel.makeQueue(
                            depth: state.queueDepth, byteCount: state.slabBytes,
                            decompression: decompression), decompression)
                case .threads:
                    let decompression =
                        state.hasCompressed ? try pool.makeDecompressionDriver() : nil
                    compare(
                        over: try kernel.makeThreads(
                            depth: state.queueDepth, byteCount: state.slabBytes,
                            decompression: decompression), decompression)
                }
            } catch {
                state.control.fail(.ring(error))
            }
        }

        private func compare<Queue: RequestQueue & ~Copyable>(
            over queue: consuming Queue, _ decompression: (any DecompressionDriver)?
        ) {
            var comparer = Comparer(job: state, queue: queue, decompression: decompression)
            comparer.run()
            state.add(comparer.statistics)
        }
    }

    private func map(
        _ bytes: [UInt8], holes: [Range<Int>] = [], alignment: Int = 512
    ) -> SimulatedMap {
        SimulatedMap(
            raw: SimulatedDisk(bytes, holes: holes), alignment: alignment, isTarget: false)
    }

    private func shuffling(_ seed: UInt64) -> SimulatedKernel.Behaviour {
        var behaviour = SimulatedKernel.Behaviour()
        behaviour.seed = seed
        behaviour.isShuffling = true
        behaviour.shortPercent = 30
        behaviour.transientPercent = 20
        return behaviour
    }

    // MARK: equal disks

    /// Equal disks of any size must be found equal, and every byte looked at.
    @Test(arguments: [0, 1, 511, 512, 4097, 65536, (1 << 20) - 1], [1, 512, 4096])
    func `equal disks are found equal`(size: Int, alignment: Int) throws {
        let bytes = [UInt8].pattern(size, seed: 1)
        let report = try Comparison(
            map(bytes, alignment: alignment), map(bytes, alignment: alignment), shuffling(1)
        ).run()
        #expect(report.isIdentical)
        #expect(report.compared == Int64(size))
        #expect(report.read == 2 * Int64(size))
        #expect(report.firstDifference == nil && report.differingClusters == 0)
    }

    /// Holes of both need no reading; a hole of one side is equal to zeros of the other.
    @Test func `holes are known to be zeros`() throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1).zeroing([64 << 10..<256 << 10])
        let first = map(bytes, holes: [64 << 10..<192 << 10])
        let second = map(bytes, holes: [128 << 10..<256 << 10])
        let report = try Comparison(first, second).run()
        #expect(report.isIdentical)
        #expect(report.compared == 512 << 10)
        #expect(report.read == 2 * (512 - 64) << 10)
    }

    /// What the page cache has is dropped first, or it would be compared instead of the disk.
    @Test func `the cache is dropped first`() throws {
        let bytes = [UInt8].pattern(128 << 10, seed: 1)
        let comparison = try Comparison(map(bytes), map(bytes), isBuffered: (true, true))
        let report = try comparison.run()
        #expect(report.isIdentical)
        #expect(comparison.kernel.records.prefix(4).allSatisfy { $0.operation == .dropCache })
        #expect(Set(comparison.kernel.records.prefix(4).map(\.file)) == [0, 1, 2, 3])
    }

    // MARK: differences

    /// One byte anywhere must be found.
    @Test(arguments: [0, 7, 65535, 65536, 300_001, 524_286])
    func `one byte is found`(offset: Int) throws {
        let bytes = [UInt8].pattern((512 << 10) - 1, seed: 1)
        var other = bytes
        other[offset] ^= 0x40
        let report = try Comparison(map(bytes), map(other)).run()
        #expect(!report.isIdentical)
        #expect(report.error == nil)
        #expect(report.firstDifference == Int64(offset))
        #expect(report.differingBytes == 1)
        #expect(report.differingClusters == 1)
        #expect(report.compared == (512 << 10) - 1)
    }

    /// Data against a hole must be found, on either side.
    @Test(arguments: [true, false])
    func `data in a hole is found`(isFirst: Bool) throws {
        let bytes = [UInt8].pattern(256 << 10, seed: 1)
        let hole = 64 << 10..<128 << 10
        let full = map(bytes)
        let sparse = map(bytes, holes: [hole])
        let report = try (isFirst ? Comparison(sparse, full) : Comparison(full, sparse)).run()
        let expected = bytes[hole].count { $0 != 0 }
        #expect(report.firstDifference == Int64(bytes[hole].firstIndex { $0 != 0 }!))
        #expect(report.differingBytes == Int64(expected))
        #expect(report.differingClusters == 1)
    }

    /// Disks of different sizes are never identical, and what they have in common is compared.
    @Test func `what is common is compared`() throws {
        let bytes = [UInt8].pattern(100_000, seed: 1)
        let report = try Comparison(map(bytes), map(Array(bytes[..<70_001]))).run()
        #expect(!report.isIdentical)
        #expect(report.error == nil && report.firstDifference == nil)
        #expect(report.compared == 70_001)
        #expect(report.sizes == (100_000, 70_001))
    }

    /// Random differences on random disks must be counted as a plain loop counts them.
    @Test(arguments: 0..<RandomTest.events(default: 60))
    func `differences are counted as a plain loop does`(event: Int) throws {
        let seed = RandomTest.seed(default: 0xC0_0000) &+ UInt64(event)
        var random = SeededGenerator(seed: seed)
        let size = Int.random(in: 1...400_000, using: &random)
        let granularity = Int64(4096 << Int.random(in: 0...6, using: &random))
        let first = [UInt8].pattern(size, seed: seed).zeroing([size / 4..<size / 2])
        var second = first
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let start = Int.random(in: 0..<size, using: &random)
            let end = min(size, start + [1, 9, 3000, 70_000].randomElement(using: &random)!)
            for index in start..<end { second[index] &+= 1 }
        }
        let sector = { (offset: Int) in (offset + 511) / 512 * 512 }
        let holes = [sector(size / 4)..<max(sector(size / 4), size / 2 / 512 * 512)]
        let comparison = try Comparison(
            map(first, holes: random.chance(percent: 50) ? holes : []), map(second),
            requestSize: 4096 << Int.random(in: 0...5, using: &random),
            depth: Int.random(in: 1...8, using: &random), granularity: granularity,
            shuffling(seed))
        let report = try comparison.run()
        let differing = first.indices.filter { first[$0] != second[$0] }
        let replay = random.replay
        #expect(report.error == nil, "\(replay)")
        #expect(report.compared == Int64(size), "\(replay)")
        #expect(report.differingBytes == Int64(differing.count), "\(replay)")
        #expect(report.firstDifference == differing.first.map(Int64.init), "\(replay)")
        let clusters = Set(differing.map { Int64($0) / granularity })
        #expect(report.differingClusters == clusters.count, "\(replay)")
    }

    // MARK: compressed sides

    /// Compressed clusters of either side or both are compared as what they stand for, each read
    /// once, in whatever pieces the other side has.
    @Test(arguments: [4096, 64 << 10], 1...8 as ClosedRange<UInt64>)
    func `compressed disks are compared`(requestSize: Int, seed: UInt64) throws {
        let isBoth = seed % 2 == 0
        let bytes = [UInt8].pattern((512 << 10) - 700, seed: 1)
        var other = bytes.zeroing([48 << 10..<64 << 10])
        let first = PlaceTests.compressed(other, zeros: [3])
        other[300_000] ^= 1
        let second = isBoth ? PlaceTests.compressed(other) : map(other)
        let report = try Comparison(
            first, second, requestSize: requestSize, shuffling(seed)
        ).run()
        #expect(report.error == nil)
        #expect(report.differingBytes == 1 && report.firstDifference == 300_000)
        #expect(report.compared == Int64(bytes.count))
        #expect(report.read == 2 * Int64(bytes.count) - 16 << 10)
    }

    /// A cluster that can't be decompressed must end the comparison with its place.
    @Test(arguments: [MirrorSide.source, .target])
    func `damage is reported`(side: MirrorSide) throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let maps = [PlaceTests.compressed(bytes), PlaceTests.compressed(bytes)]
        let start = Int(maps[0].places[9].offset)
        var fault = SimulatedDisk.Fault(bytes: start..<(start + 1), directions: [.read])
        fault.corrupts = true
        maps[side == .source ? 0 : 1].disks[0].add(fault)
        let report = try Comparison(maps[0], maps[1], shuffling(3)).run()
        #expect(!report.isIdentical)
        #expect(report.error?.transfer?.side == side)
        #expect(report.error?.transfer?.cause == .corruptData)
        #expect(report.error?.transfer?.offset == Int64(147_456))
    }

    // MARK: trouble

    /// A bad sector of either side must end the comparison with its place, and never as identical.
    @Test(arguments: [MirrorSide.source, .target])
    func `a bad sector is reported`(side: MirrorSide) throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let maps = [map(bytes), map(bytes)]
        maps[side == .source ? 0 : 1].disks[0].add(Disks.bad(.read, code: EIO))
        let report = try Comparison(maps[0], maps[1], shuffling(3)).run()
        #expect(!report.isIdentical)
        #expect(report.error?.transfer?.side == side)
        #expect(report.error?.transfer?.offset == Int64(Disks.badSector.lowerBound))
        #expect(report.error?.transfer?.count == 512)
    }

    /// A disk that is pulled out must end the comparison as gone.
    @Test(arguments: [0, 1])
    func `a disk that vanishes is reported`(index: Int) throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let maps = [map(bytes), map(bytes)]
        let comparison = try Comparison(maps[0], maps[1])
        comparison.kernel.onStep { if $0 == 2 { maps[index].disks[0].vanish() } }
        let report = try comparison.run()
        #expect(!report.isIdentical)
        guard case .shrank(let side, _, _, let size) = report.error else {
            Issue.record("\(String(describing: report.error))")
            return
        }
        #expect(side == (index == 0 ? .source : .target) && size == 0)
    }

    /// At any step a comparison may be cancelled and the ring may break: it must end, and not as
    /// identical. Over threads some runs have fewer steps than others.
    @Test func `a comparison can be cancelled at any step`() throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let whole = try Comparison(map(bytes), map(bytes), shuffling(1))
        #expect(try whole.run().isIdentical)
        for step in 1...whole.kernel.stepCount {
            let cancelled = try Comparison(map(bytes), map(bytes), shuffling(1))
            let control = cancelled.state.control
            cancelled.kernel.onStep { if $0 == step { control.cancel() } }
            let isIdentical = try cancelled.run().isIdentical
            #expect(!isIdentical || cancelled.kernel.stepCount < step, "step \(step)")

            var behaviour = shuffling(1)
            behaviour.ringErrorAtStep = step
            let broken = try Comparison(map(bytes), map(bytes), behaviour)
            let error = try broken.run().error
            if case .ring = error { continue }
            #expect(
                broken.kernel.stepCount < step, "step \(step): \(String(describing: error))")
        }
    }

    /// Pieces scattered over several disks must be compared in the guest's order.
    @Test func `scattered disks are compared`() throws {
        let bytes = [UInt8].pattern(256 << 10, seed: 1)
        var images = [[UInt8](), [UInt8]()]
        var places: [SimulatedMap.Place] = []
        for piece in 0..<16 {
            let disk = piece * 7 % 3 % 2
            places.append(.init(disk: disk, offset: Int64(images[disk].count)))
            images[disk] += bytes[(piece << 14)..<((piece + 1) << 14)]
        }
        let scattered = SimulatedMap(
            scattered: images.map { SimulatedDisk($0) }, size: 256 << 10, pieceSize: 16 << 10,
            places: places, alignment: 512, isTarget: false)
        #expect(try Comparison(scattered, map(bytes), shuffling(1)).run().isIdentical)
        #expect(try Comparison(map(bytes), scattered, shuffling(2)).run().isIdentical)
    }
}
