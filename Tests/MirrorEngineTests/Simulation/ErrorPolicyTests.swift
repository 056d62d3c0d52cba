import BlockStorage
import DirtyBitmap
import Foundation
import Testing

@testable import MirrorEngine

/// One thing is wrong with a disk, and a policy says what to make of it.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct ErrorPolicyTests {
    private static let badRange =
        Int64(Disks.badSector.lowerBound)..<Int64(Disks.badSector.upperBound)

    // MARK: one bad sector of the source

    /// Must fail, and name the very sector. What was written must be flushed, the rest stay dirty.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `a bad sector is reported`(seed: UInt64) throws {
        let disks = Disks()
        disks.source.add(Disks.bad(.read, code: ENODATA))
        let simulation = try disks.simulation(.large(seed: seed))
        let error = try #require(try simulation.run().error?.transfer)
        #expect(error.side == .source)
        #expect(error.offset == Self.badRange.lowerBound)
        #expect(error.count == 512)
        #expect(error.cause == .errno(ENODATA))
        #expect(simulation.job.isFlushed)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// Must fail with the block of the disk, where that is larger than the bad sector.
    @Test func `a bad block is reported`() throws {
        var disks = Disks()
        disks.sourceAlignment = 4096
        disks.source.add(Disks.bad(.read, code: EIO))
        let error = try #require(try disks.simulation(.large()).run().error?.transfer)
        #expect(error.offset == Self.badRange.lowerBound & ~4095)
        #expect(error.count == 4096)
    }

    /// Everything else must be copied, the sector be tried once more, and then the job fail with
    /// it.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `a bad sector is ignored`(seed: UInt64) throws {
        let disks = Disks()
        disks.source.add(Disks.bad(.read, code: EIO))
        let simulation = try disks.simulation(.large(source: .ignore, seed: seed))
        checkIncomplete(try simulation.run(), simulation, .source, Self.badRange)
        checkAllBut(Self.badRange, simulation, disks)
        // Once in each pass, when it was narrowed down.
        let tries = simulation.kernel.records.count {
            $0.operation == .read && $0.offset == Self.badRange.lowerBound && $0.count == 512
        }
        #expect(tries == 2)
    }

    /// Must end as a mirror: the sector can be read when it is tried again at the end.
    @Test(arguments: [4096, 64 << 10, 256 << 10])
    func `what failed heals in the second pass`(requestSize: Int) throws {
        let disks = Disks()
        disks.source.add(Disks.bad(.read, code: EIO))
        var setup = Simulation.Setup.large(source: .ignore)
        setup.requestSize = requestSize
        let simulation = try disks.simulation(setup)
        simulation.kernel.onStep { [failures = simulation.job.failures] _ in
            if !failures.all.isEmpty { disks.source.heal() }
        }
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        #expect(simulation.job.failures.all.isEmpty)
        #expect(simulation.job.counters.done.value == simulation.planned)
        #expect(simulation.job.retries > 0)
    }

    /// A disk that trips over a sector a few times only must cost nothing but retries.
    @Test func `a sector that heals is survived`() throws {
        let disks = Disks()
        disks.source.add(Disks.bad(.read, code: ENODATA, tries: 2))
        let simulation = try disks.simulation(.large())
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    /// Must pause and say why; once the sector is readable and the job resumed, end as a mirror.
    @Test func `a job stops at a bad sector`() throws {
        let disks = Disks()
        disks.source.add(Disks.bad(.read, code: EIO))
        let simulation = try disks.simulation(.large(source: .stop))
        simulation.start()
        try simulation.waitForPause()
        let error = try #require(simulation.job.control.pausedBy?.transfer)
        #expect(error.side == .source)
        #expect(error.offset == Self.badRange.lowerBound)
        disks.source.heal()
        simulation.job.control.resume()
        #expect(try simulation.finish(atPause: {}).isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    /// Must pause again when it is resumed and nothing is better, and can be cancelled then, also
    /// when the failed transfer is the only one there can be: the flush needs its place.
    @Test(arguments: [1, 4])
    func `a job stops again when nothing is better`(depth: Int) throws {
        let disks = Disks()
        disks.source.add(Disks.bad(.read, code: EIO))
        var setup = Simulation.Setup.large(source: .stop)
        setup.depth = depth
        let simulation = try disks.simulation(setup)
        simulation.start()
        for _ in 0..<3 {
            try simulation.waitForPause()
            simulation.job.control.resume()
        }
        try simulation.waitForPause()
        simulation.job.control.cancel()
        #expect(try simulation.finish().isCancelled)
        #expect(simulation.job.isFlushed)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    // MARK: the target

    /// Must fail, and name the very sector.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `a bad sector of the target is reported`(seed: UInt64) throws {
        let disks = Disks()
        disks.target.add(Disks.bad(.write, code: EIO))
        let simulation = try disks.simulation(.large(seed: seed))
        let error = try #require(try simulation.run().error?.transfer)
        #expect(error.side == .target)
        #expect(error.offset == Self.badRange.lowerBound)
        #expect(error.count == 512)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// Everything else must be written, and the job fail with the sector.
    @Test func `a bad sector of the target is ignored`() throws {
        let disks = Disks()
        disks.target.add(Disks.bad(.write, code: EIO))
        let simulation = try disks.simulation(.large(target: .ignore))
        checkIncomplete(try simulation.run(), simulation, .target, Self.badRange)
        checkAllBut(Self.badRange, simulation, disks)
    }

    /// Must pause, and end as a mirror once the sector can be written.
    @Test func `a job stops at a bad sector of the target`() throws {
        let disks = Disks()
        disks.target.add(Disks.bad(.write, code: EIO))
        let simulation = try disks.simulation(.large(target: .stop))
        simulation.start()
        try simulation.waitForPause()
        #expect(simulation.job.control.pausedBy?.transfer?.side == .target)
        disks.target.heal()
        simulation.job.control.resume()
        #expect(try simulation.finish(atPause: {}).isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    /// A bad sector under zeros must cost a sector too, whichever way the target is zeroed.
    @Test(arguments: ZeroHandling.allCases)
    func `a bad sector under zeros is ignored`(zeroes: ZeroHandling) throws {
        let disks = Disks(holes: [64 << 10..<512 << 10])
        disks.target.add(Disks.bad(.write, .zeroing, code: EIO))
        var setup = Simulation.Setup.large(target: .ignore)
        setup.options.zeroes = zeroes
        let simulation = try disks.simulation(setup)
        checkIncomplete(try simulation.run(), simulation, .target, Self.badRange)
        checkAllBut(Self.badRange, simulation, disks)
    }

    // MARK: a full target

    /// Must pause when the target is full, and end as a mirror once there is room.
    @Test(arguments: [ErrorPolicy.enospc, .stop])
    func `a job waits for room`(policy: ErrorPolicy) throws {
        let disks = Disks()
        disks.target.limitSpace(to: 300_000)
        let simulation = try disks.simulation(.large(target: policy))
        simulation.start()
        try simulation.waitForPause()
        let error = try #require(simulation.job.control.pausedBy?.transfer)
        #expect(error.side == .target)
        #expect(error.cause == .errno(ENOSPC))
        disks.target.makeRoom()
        simulation.job.control.resume()
        #expect(try simulation.finish(atPause: {}).isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    /// What failed before there was room is heard of after the job was resumed, perhaps: it must be
    /// tried again, and not pause the job once more.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `a job is paused once by what failed before`(seed: UInt64) throws {
        let disks = Disks()
        disks.target.limitSpace(to: 300_000)
        let simulation = try disks.simulation(.large(target: .enospc, seed: seed))
        let control = simulation.job.control
        simulation.kernel.onStep { _ in
            guard control.isPaused else { return }
            disks.target.makeRoom()
            control.resume()
        }
        simulation.start()
        let outcome = try simulation.finish { disks.target.makeRoom() }
        #expect(outcome.isMirrored)
        #expect(control.pauseState.pauses == 1)
        #expect(simulation.isEqualOnDisk)
    }

    /// A full target must fail the job where nobody asked to wait.
    @Test func `a full target is reported`() throws {
        let disks = Disks()
        disks.target.limitSpace(to: 300_000)
        let simulation = try disks.simulation(.large())
        #expect(try simulation.run().error?.transfer?.cause == .errno(ENOSPC))
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// `enospc` must fail the job for anything else: a bad sector of either side.
    @Test(arguments: [MirrorSide.source, .target])
    func `the policy enospc reports other errors`(side: MirrorSide) throws {
        let disks = Disks()
        let (disk, fault) =
            side == .source
            ? (disks.source, Disks.bad(.read, code: EIO))
            : (disks.target, Disks.bad(.write, code: EIO))
        disk.add(fault)
        let simulation = try disks.simulation(.large(source: .enospc, target: .enospc))
        #expect(try simulation.run().error?.transfer?.side == side)
    }

    // MARK: how much a bad sector costs

    /// A target with larger blocks can't be written around one sector: it must lose a block, not
    /// the job.
    @Test func `a bad sector costs a block of the target`() throws {
        var disks = Disks()
        disks.targetAlignment = 4096
        disks.source.add(Disks.bad(.read, code: EIO))
        let simulation = try disks.simulation(.large(source: .ignore))
        let block = Self.badRange.lowerBound & ~4095
        checkIncomplete(try simulation.run(), simulation, .source, block..<(block + 4096))
        checkAllBut(block..<(block + 4096), simulation, disks)
    }

    /// Several bad sectors in one run, found in any order: no byte that was not read may be
    /// written.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `nothing is written that was not read`(seed: UInt64) throws {
        let bytes = [UInt8].pattern(256 << 10, seed: 1)
        let garbage = [UInt8].pattern(256 << 10, seed: 2)
        let disk = SimulatedDisk(bytes)
        let bad = [1, 2, 3, 7, 10].map { $0 * (16 << 10) + 1024..<$0 * (16 << 10) + 1536 }
        for sector in bad { disk.add(.init(bytes: sector, directions: [.read])) }
        let source = SimulatedMap(
            scattered: [disk], size: 256 << 10, pieceSize: 16 << 10,
            places: (0..<16).map { .init(disk: 0, offset: $0 << 14) }, alignment: 512,
            isTarget: false)
        let target = SimulatedMap(raw: SimulatedDisk(garbage), isTarget: true)
        let simulation = try Simulation(
            from: source, to: target, .large(source: .ignore, seed: seed))
        #expect(try simulation.run().error != nil)
        for sector in bad { #expect(target.bytes()[sector] == garbage[sector]) }
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// What the report counts as read and written must have been: not what failed or was left out.
    @Test func `only what arrived is counted`() throws {
        let size = Int64(256 << 10)
        for policy in [ErrorPolicy.report, .ignore] {
            let disks = Disks(size: Int(size))
            disks.source.add(Disks.bad(.read, code: EIO))
            var setup = Simulation.Setup.large(source: policy)
            if policy == .ignore { setup.requestSize = 64 << 10 }
            let simulation = try disks.simulation(setup)
            #expect(try simulation.run().error != nil)
            let counters = simulation.job.counters
            if policy == .report {
                #expect(counters.read.value == Self.badRange.lowerBound)
                #expect(counters.written.value == 0)
            } else {
                // A pass over all of it, and one over the granule with the bad sector.
                #expect(counters.read.value == size - 512 + (64 << 10) - 512)
                #expect(counters.written.value == counters.read.value)
            }
        }
    }

    // MARK: disks that go away

    /// A source or target that is pulled out must fail the job, and be named as gone.
    @Test(arguments: [MirrorSide.source, .target], 1...4)
    func `a job fails when a disk vanishes`(side: MirrorSide, step: Int) throws {
        let disks = Disks()
        let simulation = try disks.simulation()
        simulation.kernel.onStep {
            if $0 == step { (side == .source ? disks.source : disks.target).vanish() }
        }
        let error = try #require(try simulation.run().error)
        guard case .shrank(let found, _, let from, let to) = error else {
            // The target may go away when only the flush is left.
            if case .flush = error, side == .target { return }
            Issue.record("\(error)")
            return
        }
        #expect(found == side)
        #expect(from == 1 << 20 && to == 0)
    }

    // MARK: common to the two ways of a failed pass

    private func checkIncomplete(
        _ outcome: MirrorOutcome, _ simulation: Simulation, _ side: MirrorSide,
        _ range: Range<Int64>, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        guard case .incomplete(let bytes, let first, let ranges) = outcome.error else {
            Issue.record("\(outcome)", sourceLocation: sourceLocation)
            return
        }
        #expect(bytes == Int64(range.count), sourceLocation: sourceLocation)
        #expect(first == range.lowerBound, sourceLocation: sourceLocation)
        #expect(ranges == 1, sourceLocation: sourceLocation)
        #expect(
            simulation.job.failures.all == [
                FailedRange(side: side, range: range, cause: .errno(EIO))
            ],
            sourceLocation: sourceLocation)
    }

    private func checkAllBut(
        _ range: Range<Int64>, _ simulation: Simulation, _ disks: Disks,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let difference = simulation.target.bytes(durable: true).firstDifference(
            from: disks.sourceBytes
        ) { start, _ in !range.contains(Int64(start)) }
        #expect(difference == nil, sourceLocation: sourceLocation)
        // The granules with the failure, and no others: the rest of its run was copied.
        var expected = DirtyBitmap(size: simulation.source.size)
        expected.set(range)
        let remaining = simulation.job.dispenser.remaining()
        let isExact = remaining == expected
        #expect(isExact, sourceLocation: sourceLocation)
        #expect(simulation.job.isFlushed, sourceLocation: sourceLocation)
    }
}
