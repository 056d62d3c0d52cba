/// Random numbers that a seed determines, so that a benchmark can be run again as it was.
///
/// SplitMix64: 8 bytes of state, and every seed is a good one.
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `bound`, which is above 0.
    ///
    /// Not `Int.random`: the standard library may change how it makes a number of random bits, and
    /// the seed would then mean something else. The bias of this way is below `bound` / 2^64.
    mutating func below(_ bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// The same elements, in any order with the same chance.
    mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var result = elements
        for end in result.indices.dropFirst().reversed() {
            result.swapAt(end, below(end + 1))
        }
        return result
    }
}
