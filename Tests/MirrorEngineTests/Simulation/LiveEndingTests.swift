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
        return (simulation, try #require(simulation.living))
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
}
