import BlockStorage
import DirtyBitmap
import Glibc
import Ring
import TestSupport
import Testing

@testable import MirrorEngine

/// What a job makes durable on its way, and what it claims of that.
@Suite(.everyQueue, .timeLimit(.minutes(20))) struct CheckpointTests {
    private func setup(rings: Int = 1, seed: UInt64 = 1) -> Simulation.Setup {
        var setup = Simulation.Setup()
        setup.options.rings = rings
        setup.behaviour.seed = seed
        setup.behaviour.isShuffling = true
        setup.checkpointInterval = 0
        return setup
    }

    private func disks() -> Disks { Disks(size: 4 << 20, holes: [512 << 10..<1 << 20]) }

    /// Every checkpoint holds, and there are several of them while the copy goes on.
    @Test(arguments: [1, 2, 3], 1...8 as ClosedRange<UInt64>)
    func `claims hold`(rings: Int, seed: UInt64) throws {
        let simulation = try disks().simulation(setup(rings: rings, seed: seed))
        #expect(try simulation.run().isMirrored)
        #expect(simulation.claims.firstBroken == nil)
        #expect(simulation.claims.kept >= simulation.checkpointsMin)
        #expect(simulation.isEqualOnDisk)
    }

    /// Nothing is flushed on the way unless checkpoints were asked for.
    @Test func `there are no checkpoints unless they are asked for`() throws {
        var setup = setup()
        setup.checkpointInterval = nil
        let simulation = try disks().simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.kernel.count(.dataSync) == 0)
        #expect(simulation.claims.kept == 0)
    }

    /// A checkpoint's failed flush ends the job, and no later flush makes up for it.
    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func `a failed checkpoint is final`(seed: UInt64) throws {
        let disks = disks()
        disks.target.setFlushing(.failOnce)
        let simulation = try disks.simulation(setup(rings: 2, seed: seed))
        guard case .flush = try simulation.run().error else {
            Issue.record("not a flush's error")
            return
        }
        #expect(!simulation.job.isFlushed)
        #expect(simulation.kernel.count(.sync) == 0)
        #expect(simulation.claims.firstBroken == nil)
        let claimsSomething = simulation.job.undone() != nil
        #expect(!claimsSomething || simulation.claims.kept > 0)
    }

    /// No flush fails, and what was lost is known all the same: nothing may be recorded as safe.
    @Test func `a checkpoint is not believed after a loss that others were told of`() throws {
        let disks = disks()
        var setup = setup()
        setup.losesUnheard = true
        let simulation = try disks.simulation(setup)
        guard case .failed = try simulation.run() else {
            Issue.record("a mirror without what was lost")
            return
        }
        #expect(simulation.kernel.count(.dataSync) > 0)
        #expect(simulation.claims.kept == 0)
        let claimsSomething = simulation.job.undone() != nil
        #expect(!claimsSomething && simulation.job.hasHiddenLosses && !simulation.job.isFlushed)
    }

    /// A job that is cancelled leaves exactly what it did not do.
    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `a cancelled job keeps what it did`(seed: UInt64) throws {
        let disks = disks()
        let simulation = try disks.simulation(setup(seed: seed))
        let control = simulation.job.control
        simulation.kernel.onStep { if $0 == 12 { control.cancel() } }
        #expect(try simulation.run().isCancelled)
        guard let remaining = simulation.job.undone() else {
            Issue.record("a flushed job knows nothing of itself")
            return
        }
        let undone = remaining.dirtyBytes
        #expect(undone == simulation.planned - simulation.job.counters.done.value)
        #expect(undone > 0 && undone < simulation.planned)
        var random = SeededGenerator(seed: seed)
        disks.target.cutPower(using: &random)
        #expect(simulation.firstUnclaimedDifference(durable: true) == nil)
    }

    /// While a job waits nothing is written, and nothing is worth another flush.
    @Test func `a paused job is not flushed again and again`() throws {
        let disks = disks()
        disks.source.add(
            .init(bytes: (2 << 20)..<(2 << 20) + 512, directions: [.read]))
        var setup = setup()
        setup.options.sourceErrorPolicy = .stop
        let simulation = try disks.simulation(setup)
        simulation.start()
        try simulation.waitForPause()
        usleep(100_000)
        let flushes = simulation.kernel.count(.dataSync)
        usleep(200_000)
        #expect(simulation.kernel.count(.dataSync) == flushes)
        disks.source.heal()
        simulation.job.control.resume()
        #expect(try simulation.finish(atPause: {}).isMirrored)
        #expect(simulation.isEqualOnDisk)
    }

    /// A bitmap finer than a page costs no byte that it does not have dirty.
    @Test func `a fine bitmap is copied to the sector`() throws {
        let disks = disks()
        let before = disks.target.visibleBytes
        var setup = setup()
        setup.granularity = 512
        setup.dirty = [512..<1024, 70_000..<70_001, (1 << 20) + 512..<(1 << 20) + 4096]
        let simulation = try disks.simulation(setup)
        #expect(try simulation.run().isMirrored)
        #expect(simulation.planned == 512 + 512 + 3584)
        let touched = simulation.target.bytes().firstDifference(from: before) { start, end in
            !setup.dirty!.contains { $0.lowerBound < end && $0.upperBound > start }
        }
        #expect(touched == nil)
    }
}
