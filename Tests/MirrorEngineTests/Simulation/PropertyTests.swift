import BlockStorage
import DirtyBitmap
import TestSupport
import Testing

@testable import MirrorEngine

/// Random jobs on random disks with random faults: whatever happens, a job tells the truth about
/// it.
///
/// Run one again with `RINGMIRROR_SEED=seed RINGMIRROR_EVENTS=1`, or many with a large
/// `RINGMIRROR_EVENTS`.
@Suite(.everyQueue, .timeLimit(.minutes(10))) struct PropertyTests {
    static let seeds: [UInt64] = {
        let first = RandomTest.seed(default: 0xD15C_0000)
        return (0..<RandomTest.events(default: 400)).map { first &+ UInt64($0) }
    }()

    @Test(arguments: seeds)
    func `a job tells the truth`(seed: UInt64) throws {
        var scenario = try Scenario(seed: seed)
        let simulation = scenario.simulation
        simulation.start()
        let outcome: MirrorOutcome
        do {
            outcome = try simulation.finish {
                // The operator repairs what can be repaired, and lets the job go on.
                for disk in simulation.source.disks + simulation.target.disks { disk.heal() }
                (simulation.target as? SimulatedImage)?.makeRoom()
            }
        } catch {
            Issue.record("the job hangs: \(replay(seed))")
            return
        }
        checkOutcome(scenario, outcome)
        checkUntouched(scenario)
        checkAfterPowerCut(&scenario)
    }

    private func replay(_ seed: UInt64) -> Comment {
        "replay with RINGMIRROR_SEED=\(seed) RINGMIRROR_EVENTS=1"
    }

    /// Mirrored means that every planned byte is equal and durable; anything else, that every
    /// cluster with a difference is still dirty.
    private func checkOutcome(_ scenario: Scenario, _ outcome: MirrorOutcome) {
        let simulation = scenario.simulation
        let job = simulation.job
        let replay = replay(scenario.seed)
        let remaining = job.dispenser.remaining()
        if outcome.isMirrored {
            #expect(job.isFlushed, replay)
            #expect(job.failures.all.isEmpty, replay)
            #expect(job.counters.done.value == job.planned, replay)
            #expect(simulation.living != nil || job.planned == simulation.planned, replay)
            let isClean = remaining.isClean
            #expect(isClean, replay)
            // Of a source that is written, the moment counts at which it was proven.
            let moment = simulation.living.map(\.proven) ?? simulation.source.bytes()
            #expect(simulation.living?.wasAllHeard ?? true, replay)
            if scenario.dirty == nil {
                #expect(moment == simulation.target.bytes(durable: true), replay)
            }
            if !scenario.hasDiskFaults, simulation.living == nil {
                let counters = job.counters
                let sum =
                    counters.written.value + counters.zeroed.value + counters.skipped.value
                #expect(sum == simulation.planned, replay)
            }
        } else {
            #expect(job.counters.done.value <= job.planned, replay)
        }
        // The writers go on, unless what follows needs them held back.
        #expect(!simulation.wasFalselyReady, replay)
        if let living = simulation.living {
            #expect(!living.isQuiet || scenario.holdsBeyondFlush, replay)
            if outcome.isMirrored, scenario.holdsBeyondFlush {
                #expect(living.isQuiet && simulation.source.bytes() == living.proven, replay)
            }
        }
        #expect(simulation.claims.firstBroken == nil, replay)
        let claimed = claims(scenario, remaining)
        let difference = simulation.target.bytes().firstDifference(
            from: simulation.source.bytes()
        ) { start, _ in claimed.isDirty(at: Int64(start)) }
        #expect(difference == nil, replay)
    }

    /// What the job says it has made equal: what was dirty at its beginning or written meanwhile,
    /// and is no longer dirty, nor told and not heard yet.
    private func claims(
        _ scenario: Scenario, _ remaining: borrowing DirtyBitmap
    ) -> DirtyBitmap {
        var claimed = DirtyBitmap(size: remaining.size, granularity: remaining.granularity)
        if let dirty = scenario.dirty {
            for range in dirty { claimed.set(range) }
        } else {
            claimed.setAll()
        }
        do {
            if let living = scenario.simulation.living {
                try claimed.merge(living.written)
                try claimed.subtract(living.unheard)
                try claimed.subtract(living.unsure)
            }
            try claimed.subtract(remaining)
        } catch {
            Issue.record("\(error)")
        }
        return claimed
    }

    /// Nothing but what the bitmap had dirty is ever written, and nothing behind the end.
    private func checkUntouched(_ scenario: Scenario) {
        let simulation = scenario.simulation
        let replay = replay(scenario.seed)
        if let dirty = scenario.dirty {
            let granularity = simulation.job.dispenser.remaining().granularity
            var planned = DirtyBitmap(size: simulation.source.size, granularity: granularity)
            for range in dirty { planned.set(range) }
            if let living = simulation.living { planned.merge(sameSize: living.written) }
            let touched = simulation.target.bytes().firstDifference(from: scenario.garbage) {
                start, _ in !planned.isDirty(at: Int64(start))
            }
            #expect(touched == nil, replay)
        }
        if !scenario.beyond.isEmpty {
            let now = simulation.target.disks[0].visibleBytes[Int(simulation.target.size)...]
            #expect(Array(now) == scenario.beyond, replay)
        }
        // What is neither the source's byte nor the old one was made up; of what was written
        // meanwhile the byte may be one of several.
        let written =
            simulation.living?.written
            ?? DirtyBitmap(size: simulation.source.size, granularity: .default)
        let now = simulation.target.bytes()
        let source = simulation.source.bytes()
        let invented = now.firstDifference(from: source) { start, end in
            !written.isDirty(at: Int64(start))
                && now[start..<end].indices.contains { index in
                    now[index] != source[index] && now[index] != scenario.garbage[index]
                }
        }
        #expect(invented == nil, replay)
    }

    /// After a power cut a flushed job's claims hold. One that could not flush claims what its last
    /// checkpoint did, or nothing, and its report says so: all of it has to be copied again.
    private func checkAfterPowerCut(_ scenario: inout Scenario) {
        let simulation = scenario.simulation
        for disk in simulation.target.disks { disk.cutPower(using: &scenario.random) }
        guard let undone = simulation.job.undone() else { return }
        var claimed = claims(scenario, undone)
        if !simulation.job.isFlushed, let living = simulation.living {
            claimed.subtract(sameSize: living.written)
        }
        let difference = simulation.target.bytes(durable: true).firstDifference(
            from: simulation.source.bytes()
        ) { start, _ in claimed.isDirty(at: Int64(start)) }
        #expect(difference == nil, replay(scenario.seed))
    }
}
