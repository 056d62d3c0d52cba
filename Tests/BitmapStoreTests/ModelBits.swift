/// A bitmap that is too simple to be wrong: one Bool for each granule, and bytes for rounding.
struct ModelBits: Equatable, CustomStringConvertible {
    let size: Int
    let shift: Int
    var bits: [Bool]

    init(size: Int, shift: Int, all: Bool = false) {
        self.size = size
        self.shift = shift
        bits = Array(repeating: all, count: (size + (1 << shift) - 1) >> shift)
    }

    func bytes(of granule: Int) -> Range<Int> {
        granule << shift..<min((granule + 1) << shift, size)
    }

    mutating func set(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        for granule in range.lowerBound >> shift...(range.upperBound - 1) >> shift {
            bits[granule] = true
        }
    }

    mutating func merge(_ other: ModelBits) {
        for granule in other.bits.indices where other.bits[granule] {
            set(other.bytes(of: granule))
        }
    }

    mutating func subtract(_ other: ModelBits) {
        for granule in bits.indices where bits[granule] {
            let bytes = bytes(of: granule)
            let covering = bytes.lowerBound >> other.shift...(bytes.upperBound - 1) >> other.shift
            if covering.allSatisfy({ other.bits[$0] }) { bits[granule] = false }
        }
    }

    func merging(_ other: ModelBits) -> ModelBits {
        var result = self
        result.merge(other)
        return result
    }

    func subtracting(_ other: ModelBits) -> ModelBits {
        var result = self
        result.subtract(other)
        return result
    }

    var dirtyBytes: Int64 {
        bits.indices.filter { bits[$0] }.reduce(0) { $0 + Int64(bytes(of: $1).count) }
    }

    var description: String {
        "\(1 << shift):" + bits.indices.filter { bits[$0] }.map(String.init).joined(separator: ",")
    }
}
