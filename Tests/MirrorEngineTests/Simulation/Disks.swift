import BlockStorage
import TestSupport

@testable import MirrorEngine

/// A source full of data and a target full of garbage, for tests that put one thing wrong with
/// them.
struct Disks {
    let source: SimulatedDisk
    let target: SimulatedDisk
    let sourceBytes: [UInt8]
    let targetBytes: [UInt8]
    var sourceAlignment = 512
    var targetAlignment = 512
    var targetStartsZero = false

    init(
        size: Int = 1 << 20, holes: [Range<Int>] = [], zeros: [Range<Int>] = [],
        emptyTarget: Bool = false
    ) {
        sourceBytes = [UInt8].pattern(size, seed: 1).zeroing(holes + zeros)
        targetBytes =
            emptyTarget ? [UInt8](repeating: 0, count: size) : [UInt8].pattern(size, seed: 2)
        source = SimulatedDisk(sourceBytes, holes: holes)
        target = SimulatedDisk(targetBytes)
    }

    func simulation(_ setup: Simulation.Setup = Simulation.Setup()) throws -> Simulation {
        try Simulation(
            from: SimulatedMap(raw: source, alignment: sourceAlignment, isTarget: false),
            to: SimulatedMap(
                raw: target, alignment: targetAlignment, isTarget: true,
                startsZero: targetStartsZero),
            setup)
    }

    /// The one bad sector of these tests: off any larger block, and not the first of a request.
    static let badSector = 153_600..<154_112

    static func bad(
        _ direction: SimulatedDisk.Fault.Direction..., code: CInt, tries: Int? = nil
    ) -> SimulatedDisk.Fault {
        SimulatedDisk.Fault(
            bytes: badSector, directions: Set(direction), code: code, triesLeft: tries)
    }
}

extension Simulation.Setup {
    /// Requests large enough that a bad sector has to be searched for.
    static func large(
        source: ErrorPolicy = .report, target: ErrorPolicy = .report, seed: UInt64 = 1
    ) -> Self {
        var setup = Self()
        setup.requestSize = 256 << 10
        setup.options.sourceErrorPolicy = source
        setup.options.targetErrorPolicy = target
        setup.behaviour.seed = seed
        setup.behaviour.isShuffling = true
        return setup
    }
}

extension MirrorError {
    /// What a failed transfer was: side, offset, count and errno.
    var transfer: (side: MirrorSide, offset: Int64, count: Int64, cause: FailureCause)? {
        guard case .transfer(let side, _, _, let offset, let count, let cause) = self else {
            return nil
        }
        return (side, offset, count, cause)
    }
}
