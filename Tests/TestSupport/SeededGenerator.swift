import Foundation

/// Random numbers that a seed fully determines, so that every random test can be run again.
///
/// The generator is SplitMix64: eight bytes of state, every seed is a good one.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// What the generator was started with.
    public let seed: UInt64

    private var state: UInt64

    /// Starts from `seed`; equal seeds give equal numbers.
    public init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// True about `percent` times in a hundred.
    public mutating func chance(percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &self) < percent
    }

    /// Words for the comment of an `#expect`: how to run the same test again.
    public var replay: String { "replay with RINGMIRROR_SEED=\(seed)" }
}

/// What a random test takes from the environment: which numbers, and how long.
public enum RandomTest {
    /// The seed from `RINGMIRROR_SEED` (decimal, or hexadecimal after `0x`), else `defaultSeed`.
    ///
    /// A value that isn't a number stops the test run: silently running another seed would make
    /// a failure look repaired.
    public static func seed(default defaultSeed: UInt64) -> UInt64 {
        guard let text = ProcessInfo.processInfo.environment["RINGMIRROR_SEED"] else {
            return defaultSeed
        }
        let isHexadecimal = text.hasPrefix("0x")
        let digits = isHexadecimal ? text.dropFirst(2) : text[...]
        guard let seed = UInt64(digits, radix: isHexadecimal ? 16 : 10) else {
            fatalError("RINGMIRROR_SEED is '\(text)': set it to a number, or unset it")
        }
        return seed
    }

    /// A generator from `seed(default:)`.
    public static func generator(defaultSeed: UInt64) -> SeededGenerator {
        SeededGenerator(seed: seed(default: defaultSeed))
    }

    /// The number of events from `RINGMIRROR_EVENTS`, else `defaultCount`: few in every test run,
    /// many in a long one.
    public static func events(default defaultCount: Int) -> Int {
        guard let text = ProcessInfo.processInfo.environment["RINGMIRROR_EVENTS"] else {
            return defaultCount
        }
        guard let count = Int(text), count > 0 else {
            fatalError("RINGMIRROR_EVENTS is '\(text)': set it to 1 or more, or unset it")
        }
        return count
    }
}
