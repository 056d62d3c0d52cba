internal import Synchronization

/// How the target is zeroed, from cheap to dear. A rung that the target can't do is left for good,
/// by all workers: what a device can't do once it can't do a million times.
final class ZeroLadder: Sendable {
    private let rung: Atomic<UInt8>
    private let zeroesRanges: Bool

    init(start: Transfer.Kind, zeroesRanges: Bool = true) {
        rung = Atomic(start.rung)
        self.zeroesRanges = zeroesRanges
    }

    var current: Transfer.Kind {
        switch rung.load(ordering: .relaxed) {
        case 0: .punchHole
        case 1: .zeroRange
        default: .writeZeros
        }
    }

    /// The way below one that did not work.
    func descend(from kind: Transfer.Kind) -> Transfer.Kind {
        let next: UInt8 = kind == .punchHole && zeroesRanges ? 1 : 2
        _ = rung.max(next, ordering: .relaxed)
        return current
    }
}

extension Transfer.Kind {
    fileprivate var rung: UInt8 {
        switch self {
        case .punchHole: 0
        case .zeroRange: 1
        default: 2
        }
    }
}
