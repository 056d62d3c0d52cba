import DirtyBitmap
import TestSupport

/// A size and a granularity to test with.
struct Shape: CustomStringConvertible, Sendable {
    let size: Int64
    let granularity: Granularity

    var description: String { "\(size) bytes at \(granularity)" }

    /// Too many granules to hold or compare one by one: operations stay within a few stretches.
    var isHuge: Bool { size / granularity.bytes > 4096 }

    static let granularities: [Granularity] = [512, 4096, 65536, 1 << 20, 1 << 31].map {
        try! Granularity(bytes: $0)
    }

    /// Sizes at which rounding, the short last granule or the last word are at an edge.
    static let small: [Shape] = granularities.flatMap { granularity in
        let bytes = granularity.bytes
        let sizes: [Int64] = [
            0, 1, 511, 512, 4097, bytes, bytes + 1, 63 * bytes, 64 * bytes - 1, 64 * bytes,
            64 * bytes + 1, 65 * bytes, 128 * bytes, 131 * bytes + bytes / 2, 700 * bytes + 1,
        ]
        return Set(sizes.filter { $0 / bytes <= 4096 }).sorted().map {
            Shape(size: $0, granularity: granularity)
        }
    }

    /// Large disks with few dirty bits; at most 2 MiB of words, which debug builds read slowly.
    static let huge: [Shape] = [
        Shape(size: 1 << 32, granularity: granularities[0]),
        Shape(size: 1 << 35 + 1, granularity: granularities[1]),
        Shape(size: 1 << 40 - 1, granularity: granularities[2]),
        Shape(size: 1 << 44, granularity: granularities[3]),
        Shape(size: 1 << 44 + 12345, granularity: granularities[4]),
    ]
}

extension SeededGenerator {
    /// An offset in `0...size`; often at an edge of a granule, and mostly near one of a few places
    /// if the bitmap is huge, so that operations meet each other.
    mutating func offset(in shape: Shape) -> Int64 {
        guard shape.size > 0 else { return 0 }
        let bytes = shape.granularity.bytes
        var offset: Int64
        if shape.isHuge {
            let granules = shape.size / bytes
            let place = granules / 4 * Int64.random(in: 0...4, using: &self)
            let near = place + Int64.random(in: -150...150, using: &self)
            offset = Swift.max(0, Swift.min(near, granules)) * bytes
            if chance(percent: 50), shape.size - offset > bytes {
                offset += Int64.random(in: 0..<bytes, using: &self)
            }
        } else {
            offset = Int64.random(in: 0...shape.size, using: &self)
            if chance(percent: 50) { offset -= offset % bytes }
        }
        if chance(percent: 5) { offset = shape.size }
        return Swift.min(offset, shape.size)
    }

    /// A range within `0..<size`; at most 400 granules long if the bitmap is huge.
    mutating func range(in shape: Shape) -> Range<Int64> {
        let lower = offset(in: shape)
        guard shape.isHuge || chance(percent: 70) else {
            let other = offset(in: shape)
            return Swift.min(lower, other)..<Swift.max(lower, other)
        }
        let longest = Swift.min(shape.size - lower, shape.granularity.bytes * 400)
        let granules = shape.granularity.bytes * Int64.random(in: 0...100, using: &self)
        let length =
            chance(percent: 50) ? granules : Int64.random(in: 0...longest, using: &self)
        return lower..<(lower + Swift.min(length, longest))
    }

    /// A limit for runs: from absurdly small to none.
    mutating func limit(in shape: Shape) -> Int64 {
        let bytes = shape.granularity.bytes
        return switch Int.random(in: 0..<5, using: &self) {
        case 0: 1
        case 1: bytes
        case 2: bytes * Int64.random(in: 1...80, using: &self)
        case 3: Int64.random(in: 1...(bytes * 200), using: &self)
        default: .max
        }
    }
}
