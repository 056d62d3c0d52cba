import BlockStorage
import DirtyBitmap
import Foundation
import Ring
import TestSupport
import Testing

@testable import MirrorEngine

/// Simulated disks that are compared, and mirrored where they differ.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct DifferenceTests {
    private typealias Comparison = CompareTests.Comparison

    private static let purpose = {
        var purpose = ComparisonPurpose()
        purpose.acceptsUnreadableFirst = true
        purpose.acceptsUnreadableSecond = true
        purpose.isPaced = true
        return purpose
    }()

    private func map(_ disk: SimulatedDisk, isTarget: Bool = false) -> SimulatedMap {
        SimulatedMap(raw: disk, alignment: 512, isTarget: isTarget)
    }

    private func shuffling(_ seed: UInt64) -> SimulatedKernel.Behaviour {
        var behaviour = SimulatedKernel.Behaviour()
        behaviour.seed = seed
        behaviour.isShuffling = true
        behaviour.shortPercent = 30
        behaviour.transientPercent = 20
        return behaviour
    }

    /// Changes a few bytes in a few places.
    private func changed(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let start = Int.random(in: 0..<bytes.count, using: &random)
            let end = min(bytes.count, start + [1, 9, 3000, 70_000].randomElement(using: &random)!)
            for index in start..<end { bytes[index] &+= 1 }
        }
        return bytes
    }

    /// What is said to be the same has to be so, whatever can't be read and whenever the comparison
    /// is stopped; where all was readable and nobody stopped it, the rest has to differ.
    @Test(arguments: 0..<RandomTest.events(default: 60))
    func `what is not left to be copied is the same`(event: Int) throws {
        let seed = RandomTest.seed(default: 0xD1_0000) &+ UInt64(event)
        var random = SeededGenerator(seed: seed)
        let size = Int.random(in: 1...600_000, using: &random)
        let granule = 4096 << Int.random(in: 0...4, using: &random)
        let first = [UInt8].pattern(size, seed: seed).zeroing([size / 4..<size / 2])
        let second = changed(first, &random)
        let disks = [SimulatedDisk(first), SimulatedDisk(second)]
        let isFaulty = random.chance(percent: 50)
        if isFaulty {
            for _ in 0..<3 {
                let start = Int.random(in: 0..<size, using: &random) / 512 * 512
                disks[Int.random(in: 0...1, using: &random)].add(
                    SimulatedDisk.Fault(bytes: start..<start + 512, directions: [.read]))
            }
        }
        let comparison = try Comparison(
            map(disks[0]), map(disks[1]),
            requestSize: 4096 << Int.random(in: 0...5, using: &random),
            depth: Int.random(in: 1...8, using: &random), granularity: Int64(granule),
            purpose: Self.purpose, shuffling(seed))
        let control = comparison.state.control
        let stop = random.chance(percent: 40) ? Int.random(in: 1...40, using: &random) : nil
        comparison.kernel.onStep { if $0 == stop { control.cancel() } }
        let report = try comparison.run()
        let replay = random.replay
        let isStopped = report.error != nil
        if case .some(let error) = report.error, case .cancelled = error {
        } else {
            #expect(report.error == nil, "\(replay)")
        }
        let left = comparison.state.undecided()
        let lost = first.firstDifference(from: second) { start, end in
            !left.isFullyDirty(in: Int64(start)..<Int64(end))
        }
        #expect(lost == nil, "\(replay)")
        guard !isStopped, report.unreadBytes == 0 else { return }
        let differing = Set(first.indices.filter { first[$0] != second[$0] }.map { $0 / granule })
        let count = left.dirtyCount
        #expect(count == differing.count, "\(replay)")
    }

    /// The copy after the comparison must make both the same, and write nowhere else.
    @Test(arguments: 0..<RandomTest.events(default: 40))
    func `only what differs is written`(event: Int) throws {
        let seed = RandomTest.seed(default: 0xD2_0000) &+ UInt64(event)
        var random = SeededGenerator(seed: seed)
        let size = Int.random(in: 1...600_000, using: &random)
        let first = [UInt8].pattern(size, seed: seed).zeroing([size / 4..<size / 2])
        let second = changed(first, &random)
        let source = SimulatedDisk(first)
        let target = SimulatedDisk(second)
        let isFaulty = random.chance(percent: 30)
        if isFaulty {
            let start = Int.random(in: 0..<size, using: &random) / 512 * 512
            target.add(SimulatedDisk.Fault(bytes: start..<start + 512, directions: [.read]))
        }
        let comparison = try Comparison(
            map(source), map(target), granularity: 4096, purpose: Self.purpose, shuffling(seed))
        #expect(try comparison.run().error == nil)
        let replay = random.replay
        let left = comparison.state.undecided()

        var setup = Simulation.Setup()
        setup.granularity = 65536
        setup.behaviour = shuffling(seed)
        setup.checkpointInterval = random.chance(percent: 50) ? 0 : nil
        let simulation = try Simulation(
            from: map(source), to: map(target, isTarget: true), setup)
        _ = simulation.job.narrow(to: left.copy())
        let planned = left.dirtyBytes
        #expect(simulation.job.planned == planned, "\(replay)")
        #expect(try simulation.run().isMirrored, "\(replay)")
        #expect(simulation.isEqualOnDisk, "\(replay)")
        let writes = simulation.kernel.records.filter {
            [.write, .punchHole, .zeroRange].contains($0.operation)
        }
        for write in writes {
            let end = min(write.offset + write.count, Int64(size))
            let isLeft = left.isFullyDirty(in: write.offset..<end)
            #expect(isLeft, "\(write) \(replay)")
        }
        #expect(planned > 0 || writes.isEmpty, "\(replay)")
    }

    /// A bad sector of the target is one that has to be written. It ends nothing.
    @Test func `what can't be read of the target differs`() throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let target = SimulatedDisk(bytes)
        target.add(Disks.bad(.read, code: EIO))
        var purpose = ComparisonPurpose()
        purpose.acceptsUnreadableSecond = true
        let comparison = try Comparison(
            map(SimulatedDisk(bytes)), map(target), granularity: 4096, purpose: purpose,
            shuffling(3))
        let report = try comparison.run()
        #expect(report.error == nil && report.compared == 512 << 10)
        #expect(report.unreadBytes >= 512)
        let left = comparison.state.undecided()
        let bad = Int64(Disks.badSector.lowerBound)..<Int64(Disks.badSector.upperBound)
        let hasBad = left.isFullyDirty(in: bad)
        let count = left.dirtyBytes
        #expect(hasBad && count <= 64 << 10)
    }

    /// What can't be decompressed is written as a whole: a part of it could not be filled.
    @Test func `damage of the target differs as a whole`() throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let target = PlaceTests.compressed(bytes)
        let start = Int(target.places[9].offset)
        var fault = SimulatedDisk.Fault(bytes: start..<(start + 1), directions: [.read])
        fault.corrupts = true
        target.disks[0].add(fault)
        let comparison = try Comparison(
            map(SimulatedDisk(bytes)), target, granularity: 4096, purpose: Self.purpose,
            shuffling(3))
        #expect(try comparison.run().error == nil)
        let left = comparison.state.undecided()
        let isWhole = left.isFullyDirty(in: 147_456..<147_456 + target.pieceSize)
        #expect(isWhole)
    }

    /// A source that can't be read ends the comparison, unless the job does more than to fail.
    @Test(arguments: [false, true])
    func `what can't be read of the source`(isAccepted: Bool) throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let source = SimulatedDisk(bytes)
        source.add(Disks.bad(.read, code: EIO))
        var purpose = ComparisonPurpose()
        purpose.acceptsUnreadableFirst = isAccepted
        purpose.acceptsUnreadableSecond = true
        let comparison = try Comparison(
            map(source), map(SimulatedDisk(bytes)), granularity: 4096, purpose: purpose)
        let report = try comparison.run()
        #expect((report.error == nil) == isAccepted)
        #expect(report.error == nil || report.error?.transfer?.side == .source)
    }

    /// A side that is pulled out ends it all the same.
    @Test func `a target that vanishes is no difference`() throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let target = SimulatedDisk(bytes)
        let comparison = try Comparison(
            map(SimulatedDisk(bytes)), map(target), purpose: Self.purpose)
        comparison.kernel.onStep { if $0 == 2 { target.vanish() } }
        guard case .shrank(.target, _, _, 0) = try comparison.run().error else {
            Issue.record("it did not end")
            return
        }
    }

    /// It waits with the job that it is a part of, and goes on.
    @Test func `a pause holds it up`() throws {
        let bytes = [UInt8].pattern(512 << 10, seed: 1)
        let comparison = try Comparison(
            map(SimulatedDisk(bytes)), map(SimulatedDisk(bytes)), purpose: Self.purpose)
        let control = comparison.state.control
        control.start()
        control.pause()
        Thread.detachNewThread {
            usleep(20_000)
            control.resume()
        }
        #expect(try comparison.run().isIdentical)
        #expect(control.phase == .running)
    }
}
