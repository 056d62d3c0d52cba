import BlockStorage
import Foundation
import Testing

@testable import MirrorEngine

/// How a job over a source that is written comes to its end: the writers are held back, for no
/// longer than need be.
@Suite(.everyQueue, .timeLimit(.minutes(5))) struct LiveEndingTests {
    private func simulation(
        _ disks: Disks = Disks(), _ change: (inout Simulation.Setup) -> Void = { _ in }
    ) throws -> (Simulation, LivingSource) {
        var setup = Simulation.Setup()
        setup.isLiving = true
        setup.livePlan.maxPause = .max
        setup.behaviour.seed = 3
        change(&setup)
        let simulation = try disks.simulation(setup)
        let living = try #require(simulation.living)
        living.cutShort = 0
        return (simulation, living)
    }

    /// What holds the writers back may take its time, and whoever watches has none to wait.
    @Test(arguments: [1, 3])
    func `progress can be read while the writers are being held back`(rings: Int) throws {
        let (simulation, living) = try simulation { $0.options.rings = rings }
        let (begun, mayGoOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        living.whenHeld = {
            begun.signal()
            mayGoOn.wait()
        }
        simulation.start()
        begun.wait()
        #expect(simulation.job.liveProgress?.isHeld == true)
        #expect(simulation.job.control.phase == .completing)
        living.whenHeld = nil
        mayGoOn.signal()
        #expect(try simulation.finish().isMirrored)
        #expect(simulation.job.liveProgress?.isHeld == false)
    }

    // MARK: errors that pause the job

    /// Nobody knows how long the pause will be: the writers don't wait for its end.
    @Test(arguments: [1, 3], [ErrorPolicy.stop, .enospc])
    func `an error that pauses the job lets the writers go`(
        rings: Int, policy: ErrorPolicy
    ) throws {
        let disks = Disks()
        let (simulation, living) = try simulation(disks) {
            $0.options.rings = rings
            $0.options.targetErrorPolicy = policy
        }
        var tries = 0
        living.whenHeld = {
            tries += 1
            guard tries == 1 else { return }
            living.write(Int64(Disks.badSector.lowerBound)..<Int64(Disks.badSector.upperBound))
            disks.target.add(Disks.bad(.write, .zeroing, code: ENOSPC))
        }
        simulation.start()
        try simulation.waitForPause()
        #expect(!living.isQuiet && simulation.job.liveProgress?.isHeld == false)
        #expect(simulation.job.control.phase == .paused)
        #expect(simulation.job.control.pausedBy?.transfer?.side == .target)
        disks.target.heal()
        simulation.job.control.resume()
        #expect(try simulation.finish().isMirrored)
        #expect(tries == 2 && living.wasAllHeard)
        #expect(simulation.target.bytes(durable: true) == living.proven)
    }

    /// It can be cancelled as well: nothing is held back any more.
    @Test func `a job that paused while the writers were held back can be cancelled`() throws {
        let disks = Disks()
        let (simulation, living) = try simulation(disks) { $0.options.targetErrorPolicy = .stop }
        living.whenHeld = {
            living.write(Int64(Disks.badSector.lowerBound)..<Int64(Disks.badSector.upperBound))
            disks.target.add(Disks.bad(.write, .zeroing, code: EIO))
        }
        simulation.start()
        try simulation.waitForPause()
        simulation.job.control.cancel()
        #expect(try simulation.finish().isCancelled)
        #expect(!living.isQuiet)
    }

    // MARK: what is not held back in time

    /// A disk may be too slow for a while. The writers go on, and nothing of the copy is lost.
    @Test func `writers that could not be held back in time are held back later`() throws {
        let (simulation, living) = try simulation()
        var tries = 0
        living.whenHeld = { () throws(MirrorError) in
            tries += 1
            if tries < 5 { throw .live(.freezing(.helpers(code: .timedOut))) }
        }
        #expect(try simulation.run().isMirrored)
        #expect(tries == 5 && living.wasAllHeard)
        #expect(simulation.target.bytes(durable: true) == living.proven)
    }

    @Test func `writers that are never held back in time fail the job, and say why`() throws {
        let (simulation, living) = try simulation()
        var tries = 0
        living.whenHeld = { () throws(MirrorError) in
            tries += 1
            throw .live(.freezing(.helpers(code: .timedOut)))
        }
        guard case .live(.freezing(.helpers)) = try simulation.run().error else {
            Issue.record("another error than that of the last try")
            return
        }
        #expect(tries == LivePlan(ending: .whenItFits, maxPause: 0).attemptsMax && !living.isQuiet)
    }

    // MARK: the comparison

    @Test func `a comparison that proves nothing any more ends early, and says why`() throws {
        let disks = Disks()
        var purpose = ComparisonPurpose()
        purpose.interruption = { .live(.notHeld(attempts: 1)) }
        let comparison = try CompareTests.Comparison(
            SimulatedMap(raw: disks.source, isTarget: false),
            SimulatedMap(raw: disks.source, isTarget: false), purpose: purpose)
        let report = try comparison.run()
        guard case .live(.notHeld) = report.error else {
            Issue.record("not the reason why it ended")
            return
        }
        #expect(report.compared == 0 && !report.isIdentical)
    }

    // MARK: what can't be let go again

    private static let stillFrozen = MirrorError.live(.freezing(.stillFrozen([])))

    private func isStillFrozen(_ error: MirrorError?) -> Bool {
        guard case .live(.freezing(.stillFrozen)) = error else { return false }
        return true
    }

    /// The mirror is proven by then, and stays one.
    @Test func `writers that are not let go after the proof are told`() throws {
        let (simulation, living) = try simulation()
        living.whenReleased = { Self.stillFrozen }
        #expect(try simulation.run().isMirrored)
        #expect(isStillFrozen(simulation.job.shortfall.withLock { $0 }))
    }

    /// Nothing is proven, and the writers wait: there is nothing to go on for.
    @Test func `writers that are not let go before the proof fail the job`() throws {
        let (simulation, living) = try simulation()
        living.whenHeld = { () throws(MirrorError) in throw .live(.notStopped("of a test")) }
        living.whenReleased = { Self.stillFrozen }
        #expect(isStillFrozen(try simulation.run().error))
    }
}
