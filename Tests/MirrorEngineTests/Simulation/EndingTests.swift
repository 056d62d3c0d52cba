import BlockStorage
import Foundation
import Ring
import Testing

@testable import MirrorEngine

/// How jobs end: by the flush, by somebody's word, by a ring that breaks.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct EndingTests {
    private func setup(rings: Int = 1, seed: UInt64 = 1) -> Simulation.Setup {
        var setup = Simulation.Setup()
        setup.options.rings = rings
        setup.behaviour.seed = seed
        setup.behaviour.isShuffling = true
        return setup
    }

    private func disks() -> Disks { Disks(size: 512 << 10, holes: [128 << 10..<256 << 10]) }

    /// Whatever the job says it made equal has to be, after a power cut too if it was flushed.
    private func checkClaims(
        _ simulation: Simulation, _ comment: Comment,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(
            simulation.firstUnclaimedDifference(durable: simulation.job.isFlushed) == nil, comment,
            sourceLocation: sourceLocation)
    }

    // MARK: the flush

    /// One flush, the last request of all. That nothing is in flight then is checked by the queue.
    @Test(arguments: [1, 2, 3])
    func `the flush comes last`(rings: Int) throws {
        let simulation = try disks().simulation(setup(rings: rings))
        #expect(try simulation.run().isMirrored)
        #expect(simulation.kernel.count(.sync) == 1)
        #expect(simulation.kernel.records.last?.operation == .sync)
        #expect(simulation.isEqualOnDisk)
    }

    /// A failed flush must fail the job for good: asking again succeeds, and what was lost stays
    /// lost.
    @Test(arguments: [SimulatedDisk.Flushing.failOnce, .failAlways])
    func `a failed flush is final`(flushing: SimulatedDisk.Flushing) throws {
        let disks = disks()
        disks.target.setFlushing(flushing)
        let simulation = try disks.simulation(setup())
        guard case .flush(let name, let cause) = try simulation.run().error else {
            Issue.record("not a flush's error")
            return
        }
        #expect(name == "target")
        #expect(cause == .errno(EIO))
        #expect(simulation.kernel.count(.sync) == 1)
        #expect(!simulation.job.isFlushed)
        #expect(!simulation.isEqualOnDisk)
    }

    /// A flush that is interrupted must be asked for again.
    @Test func `an interrupted flush goes on`() throws {
        var setup = setup(seed: 5)
        setup.behaviour.transientPercent = 80
        let simulation = try disks().simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    // MARK: a kernel that hesitates

    /// Short transfers, EINTR and EAGAIN must cost nothing but requests.
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `short transfers are survived`(seed: UInt64) throws {
        var setup = setup(rings: 2, seed: seed)
        setup.behaviour.shortPercent = 60
        setup.behaviour.transientPercent = 30
        let disks = Disks(size: (1 << 19) - 1, holes: [128 << 10..<256 << 10])
        let simulation = try disks.simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
        #expect(simulation.job.retries > 0)
    }

    /// EAGAIN for ever must end as an error.
    @Test(arguments: [Request.Operation.read, .write, .punchHole, .sync])
    func `getting nowhere is an error`(operation: Request.Operation) throws {
        var setup = setup()
        setup.behaviour.stuck = [operation]
        let simulation = try disks().simulation(setup)
        switch try simulation.run().error {
        case .transfer(let side, _, _, _, _, let cause):
            #expect(side == (operation == .read ? .source : .target))
            #expect(cause == .errno(EAGAIN))
        case .flush(_, let cause):
            #expect(operation == .sync)
            #expect(cause == .errno(EAGAIN))
        case let other: Issue.record("\(String(describing: other))")
        }
        checkClaims(simulation, "\(operation)")
    }

    // MARK: cancel, pause, speed

    /// A job can be cancelled at any moment: what it had done is flushed, and the rest dirty.
    @Test(arguments: [1, 3])
    func `a job can be cancelled at any step`(rings: Int) throws {
        let whole = try disks().simulation(setup(rings: rings))
        #expect(try whole.run().isMirrored)
        for step in 1...(whole.kernel.stepCount + 1) {
            let simulation = try disks().simulation(setup(rings: rings))
            let control = simulation.job.control
            simulation.kernel.onStep { if $0 == step { control.cancel() } }
            let outcome = try simulation.run()
            #expect(outcome.isCancelled || outcome.isMirrored, "step \(step)")
            #expect(simulation.job.isFlushed, "step \(step)")
            #expect(outcome.isMirrored == simulation.isEqualOnDisk, "step \(step)")
            checkClaims(simulation, "step \(step)")
        }
    }

    /// A job that is cancelled before it starts must write nothing.
    @Test func `a job can be cancelled before it starts`() throws {
        let disks = disks()
        let simulation = try disks.simulation(setup())
        simulation.job.control.cancel()
        #expect(try simulation.run().isCancelled)
        #expect(simulation.target.bytes() == disks.targetBytes)
        #expect(simulation.kernel.count(.read) == 0)
    }

    /// A job can be paused at any moment, and must go on as if nothing had been.
    @Test(arguments: [1, 3])
    func `a job can be paused at any step`(rings: Int) throws {
        for step in 1...12 {
            let simulation = try disks().simulation(setup(rings: rings))
            let control = simulation.job.control
            simulation.kernel.onStep { if $0 == step { control.pause() } }
            simulation.start()
            let outcome = try simulation.finish { #expect(control.pausedBy == nil) }
            #expect(outcome.isMirrored, "step \(step)")
            #expect(simulation.isEqualOnDisk, "step \(step)")
        }
    }

    /// A paused job starts nothing, and can be cancelled.
    @Test func `a job can be cancelled while it is paused`() throws {
        let simulation = try disks().simulation(setup())
        simulation.job.control.pause()
        simulation.start()
        usleep(20_000)
        #expect(simulation.kernel.records.isEmpty)
        simulation.job.control.cancel()
        #expect(try simulation.finish().isCancelled)
    }

    /// Lifting a limit that would take for ever must let the job end.
    @Test(arguments: [1, 2])
    func `the speed limit can be lifted`(rings: Int) throws {
        var setup = setup(rings: rings)
        setup.options.speedLimit = 1
        let simulation = try disks().simulation(setup)
        simulation.start()
        usleep(20_000)
        // One run each may have gone before the bucket was found empty.
        #expect(simulation.job.counters.read.value <= Int64(rings) * 65536)
        simulation.job.control.speed.set(nil)
        #expect(try simulation.finish().isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    // MARK: broken rings and maps

    /// A ring that breaks at any moment must fail the job without a hang or a trap, whatever it had
    /// in flight; the kernel may still carry that out.
    @Test(arguments: [1, 2, 3], [1, 4])
    func `a job fails when a ring breaks at any step`(rings: Int, depth: Int) throws {
        var setup = setup(rings: rings)
        setup.depth = depth
        let whole = try disks().simulation(setup)
        #expect(try whole.run().isMirrored)
        for step in 1...whole.kernel.stepCount {
            setup.behaviour.ringErrorAtStep = step
            let simulation = try disks().simulation(setup)
            let outcome = try simulation.run()
            if simulation.kernel.stepCount >= step {
                guard case .ring = outcome.error else {
                    Issue.record("step \(step): \(outcome)")
                    continue
                }
                #expect(!simulation.job.isFlushed, "step \(step)")
            }
            checkClaims(simulation, "step \(step)")
        }
    }

    /// A ring that can't be made must fail the job, also if the others could be.
    @Test(arguments: [1, 3], [0, 1, 2])
    func `a job fails without a ring`(rings: Int, failing: Int) throws {
        guard failing < rings else { return }
        var setup = setup(rings: rings)
        setup.behaviour.failingRings = [failing]
        let simulation = try disks().simulation(setup)
        guard case .ring(.outOfMemory) = try simulation.run().error else {
            Issue.record("not the ring's error")
            return
        }
        checkClaims(simulation, "ring \(failing)")
    }

    /// A map that can't tell where bytes live must fail the job with what it said.
    @Test(arguments: [MirrorSide.source, .target], [0, 70_000, 400_000] as [Int64])
    func `a job fails when a map does`(side: MirrorSide, offset: Int64) throws {
        let disks = disks()
        var source = SimulatedMap(raw: disks.source, isTarget: false)
        var target = SimulatedMap(raw: disks.target, isTarget: true)
        if side == .source { source.brokenOffset = offset } else { target.brokenOffset = offset }
        let simulation = try Simulation(from: source, to: target, setup())
        guard case .storage = try simulation.run().error else {
            Issue.record("not the map's error")
            return
        }
        checkClaims(simulation, "\(side) at \(offset)")
    }

    // MARK: sizes

    /// Every size that is odd in some way, over both kinds of blocks and the page cache.
    @Test(
        arguments: [0, 1, 511, 512, 513, 4095, 4096, 4097, 65537, (1 << 20) - 1], [1, 512, 4096])
    func `disks of any size are mirrored`(size: Int, alignment: Int) throws {
        var disks = Disks(size: size)
        disks.sourceAlignment = alignment
        disks.targetAlignment = alignment
        let simulation = try disks.simulation(setup())
        #expect(try simulation.run().isMirrored)
        #expect(simulation.isEqualOnDisk)
    }
}
