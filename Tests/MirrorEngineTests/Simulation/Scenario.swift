import BlockStorage
import DirtyBitmap
import Foundation
import TestSupport

@testable import MirrorEngine

/// A random job: disks, options, faults and interventions, all from one seed.
struct Scenario {
    let seed: UInt64
    let simulation: Simulation
    /// What was on the target before the first request, in the guest's order.
    let garbage: [UInt8]
    /// The same behind the target's end, where there is more of it.
    let beyond: [UInt8]
    let dirty: [Range<Int64>]?
    let hasDiskFaults: Bool
    /// The writers of the source stay held back behind the end of the job.
    let holdsBeyondFlush: Bool
    var random: SeededGenerator

    private static let sizes = [0, 1, 511, 512, 4097, (1 << 20) - 1]

    init(seed: UInt64) throws {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        let size = Self.size(&random)
        let holes = Self.stretches(size, &random)
        let zeros = Self.stretches(size, &random)
        let bytes = [UInt8].pattern(size, seed: seed).zeroing(zeros)
        let source = ScenarioDisks.source(bytes, holes, &random)

        var setup = Self.setup(&random)
        setup.behaviour = Self.behaviour(seed, &random)
        let isFull = random.chance(percent: 60)
        setup.dirty =
            isFull
            ? nil
            : Self.stretches(size, &random).map { Int64($0.lowerBound)..<Int64($0.upperBound) }
        dirty = setup.dirty

        setup.isLiving = random.chance(percent: 30)
        if random.chance(percent: 50) {
            setup.livePlan.maxPause = [0, 1_000_000, .max].randomElement(using: &random)!
            setup.livePlan.passesMax = [1, 3, 16].randomElement(using: &random)!
            setup.follows = random.chance(percent: 40)
            setup.livePlan.holdsBeyondFlush = random.chance(percent: 50)
        }

        holdsBeyondFlush = setup.livePlan.holdsBeyondFlush

        let isZero = random.chance(percent: 25)
        let spare = random.chance(percent: 25) ? Int.random(in: 1...70_000, using: &random) : 0
        let target = ScenarioDisks.target(size, spare, isZero: isZero, seed: seed, &random)
        setup.options.targetIsZero = isZero && random.chance(percent: 50)
        garbage = target.bytes()
        beyond = spare == 0 ? [] : Array(target.disks[0].visibleBytes[size...])

        hasDiskFaults = random.chance(percent: 50)
        if hasDiskFaults { Self.addFaults(source, target, size, &random) }
        Self.limitZeroing(target.disks[0], &random)
        simulation = try Simulation(from: source, to: target, setup)
        Self.intervene(simulation, &random)
        self.random = random
    }

    // MARK: disks

    private static func size(_ random: inout SeededGenerator) -> Int {
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<3: sizes.randomElement(using: &random)!
        case 3..<6: Int.random(in: 1..<(256 << 10), using: &random)
        case 6..<8: Int.random(in: 1..<200, using: &random) * 4096
        default: Int.random(in: 1..<(2 << 20), using: &random)
        }
    }

    /// Some stretches of a disk, on sectors, that may overlap and touch.
    static func stretches(
        _ size: Int, _ random: inout SeededGenerator
    ) -> [Range<Int>] {
        guard size > 0 else { return [] }
        return (0..<Int.random(in: 0...4, using: &random)).map { _ in
            let unit = [512, 4096, 65536].randomElement(using: &random)!
            let start = Int.random(in: 0..<size, using: &random) / unit * unit
            let count = Int.random(in: 1...(size / unit + 1), using: &random) * unit / 2
            return start..<min(size, start + max(count / unit * unit, unit))
        }
    }

    // MARK: the job

    private static func setup(_ random: inout SeededGenerator) -> Simulation.Setup {
        var setup = Simulation.Setup()
        setup.requestSize = 4096 << Int.random(in: 0...8, using: &random)
        setup.depth = [1, 2, 3, 4, 8, 16, 64].randomElement(using: &random)!
        if random.chance(percent: 30) {
            setup.bufferBytes = setup.requestSize * Int.random(in: 1...setup.depth, using: &random)
        }
        if random.chance(percent: 50) { setup.checkpointInterval = 0 }
        setup.granularity = 4096 << Int64.random(in: 0...8, using: &random)
        setup.isBuffered = random.chance(percent: 20)
        setup.options.rings = Int.random(in: 1...3, using: &random)
        setup.options.zeroes = ZeroHandling.allCases.randomElement(using: &random)!
        setup.options.sourceErrorPolicy = ErrorPolicy.allCases.randomElement(using: &random)!
        setup.options.targetErrorPolicy = ErrorPolicy.allCases.randomElement(using: &random)!
        return setup
    }

    private static func behaviour(
        _ seed: UInt64, _ random: inout SeededGenerator
    ) -> SimulatedKernel.Behaviour {
        var behaviour = SimulatedKernel.Behaviour()
        behaviour.seed = seed
        behaviour.threadsMax = [0, 1, 4][Int(seed % 3)]
        behaviour.isShuffling = random.chance(percent: 80)
        if random.chance(percent: 50) { behaviour.shortPercent = 30 }
        if random.chance(percent: 50) { behaviour.transientPercent = 30 }
        if random.chance(percent: 10) {
            behaviour.ringErrorAtStep = Int.random(in: 1...40, using: &random)
        }
        if random.chance(percent: 3) { behaviour.failingRings = [0] }
        return behaviour
    }

    // MARK: faults

    private static func addFaults(
        _ source: SimulatedMap, _ target: any SimulatedTarget, _ size: Int,
        _ random: inout SeededGenerator
    ) {
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            addBadSectors(source.disks, [.read], within: .max, &random)
        }
        if random.chance(percent: 30) { corruptPieces(source, &random) }
        if let image = target as? SimulatedImage {
            if random.chance(percent: 10) { image.failCommits(1) }
            if random.chance(percent: 20) {
                image.limitClusters(
                    to: Int.random(in: 0...(size / Int(image.unit)), using: &random))
            }
        }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            // The clusters of an image that are taken in the first pass.
            let end = (target as? SimulatedImage).map { $0.nextCluster + size }
            addBadSectors(
                target.disks, random.chance(percent: 50) ? [.write] : [.write, .zeroing],
                within: end ?? .max, &random)
        }
        if random.chance(percent: 15) {
            target.disks[0].limitSpace(to: Int.random(in: 0...(size + 1), using: &random))
        }
        if random.chance(percent: 10) {
            target.disks[0].setFlushing(random.chance(percent: 50) ? .failOnce : .failAlways)
        }
    }

    private static func addBadSectors(
        _ disks: [SimulatedDisk], _ directions: Set<SimulatedDisk.Fault.Direction>,
        within end: Int, _ random: inout SeededGenerator
    ) {
        let disk = disks.randomElement(using: &random)!
        guard disk.initialSize > 0 else { return }
        let start =
            Int.random(in: 0..<min(disk.initialSize, end), using: &random) / 512 * 512
        var fault = SimulatedDisk.Fault(
            bytes: start..<(start + 512 * Int.random(in: 1...3, using: &random)),
            directions: directions)
        fault.code = [EIO, ENODATA, EILSEQ, EPERM].randomElement(using: &random)!
        fault.healsOnWrite = random.chance(percent: 30)
        if random.chance(percent: 50) { fault.triesLeft = Int.random(in: 1...8, using: &random) }
        disk.add(fault)
    }

    /// Some compressed pieces come back as something that can't be decompressed.
    private static func corruptPieces(
        _ source: SimulatedMap, _ random: inout SeededGenerator
    ) {
        for place in source.places {
            guard case .compressed = place.form, random.chance(percent: 20) else { continue }
            let start = Int(place.offset)
            var fault = SimulatedDisk.Fault(bytes: start..<(start + 2), directions: [.read])
            fault.corrupts = true
            source.disks[place.disk].add(fault)
        }
    }

    private static func limitZeroing(
        _ disk: SimulatedDisk, _ random: inout SeededGenerator
    ) {
        let codes: [CInt] = [0, 0, EOPNOTSUPP, EINVAL]
        disk.refuseZeroing(
            punch: codes.randomElement(using: &random)!,
            zeroRange: codes.randomElement(using: &random)!)
    }

    /// Somebody cancels, pauses or pulls a cable at a random moment.
    private static func intervene(_ simulation: Simulation, _ random: inout SeededGenerator) {
        let moment = Int.random(in: 1...30, using: &random)
        let control = simulation.job.control
        let disks = [simulation.source.disks[0], simulation.target.disks[0]]
        let victim = disks.randomElement(using: &random)!
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<10: simulation.kernel.onStep { if $0 == moment { control.cancel() } }
        case 10..<20: simulation.kernel.onStep { if $0 == moment { control.pause() } }
        case 20..<25: simulation.kernel.onStep { if $0 == moment { victim.vanish() } }
        default: break
        }
    }
}
