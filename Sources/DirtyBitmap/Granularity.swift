/// How many bytes of the disk one bit of a bitmap stands for.
///
/// Always a power of two between 512 bytes (one sector) and 2 GiB. A smaller granularity tracks
/// changes more finely and needs more memory: 64 KiB costs 2 MiB of bitmap per TiB of disk.
public struct Granularity: Sendable, Hashable {
    /// The base-two logarithm of `bytes`: 9 for 512 bytes, 31 for 2 GiB.
    public let shift: Int

    /// The smallest granularity there is, one 512-byte sector.
    public static let min = Granularity(uncheckedShift: 9)

    /// The largest granularity there is, 2 GiB.
    public static let max = Granularity(uncheckedShift: 31)

    /// 64 KiB, the granularity of a bitmap for which nothing else was asked.
    public static let `default` = Granularity(uncheckedShift: 16)

    /// Makes a granularity of `bytes` bytes per bit.
    ///
    /// - Parameter bytes: a power of two from 512 to 2147483648.
    /// - Throws: `DirtyBitmapError.invalidGranularity` for any other number.
    public init(bytes: Int64) throws(DirtyBitmapError) {
        guard bytes >= Granularity.min.bytes, bytes <= Granularity.max.bytes,
            bytes.nonzeroBitCount == 1
        else { throw .invalidGranularity(bytes: bytes) }
        shift = bytes.trailingZeroBitCount
    }

    /// Callers vouch for the range 9...31; everything else in this module relies on it.
    init(uncheckedShift shift: Int) {
        assert((9...31).contains(shift), "a granularity is 2^9 to 2^31 bytes, not 2^\(shift)")
        self.shift = shift
    }

    /// The granularity of a bitmap of a disk for which nothing else was asked: the default up to
    /// 4 TiB, coarser above, so that the bitmap stays below 8 MiB for as long as there is a coarser
    /// one. It serves every size from 0 to `Int64.max`.
    package init(forSize size: Int64) {
        self.init(forSize: size, atLeast: .default, bitsMax: 64 << 20)
    }

    /// A granularity that was found elsewhere, or a coarser one if the bitmap of a disk of this
    /// size would take more than half a GiB with it.
    package init(forSize size: Int64, atLeast least: Granularity) {
        self.init(forSize: size, atLeast: least, bitsMax: 1 << 32)
    }

    /// 4 KiB, what disks are written in, or a coarser one if the bitmap of a disk of this size
    /// would have more bits than that.
    package init(finestForSize size: Int64, bitsMax: Int64) {
        self.init(forSize: size, atLeast: Granularity(uncheckedShift: 12), bitsMax: bitsMax)
    }

    private init(forSize size: Int64, atLeast least: Granularity, bitsMax: Int64) {
        var shift = least.shift
        // A part of a granule takes a bit as well.
        while shift < Granularity.max.shift, (size - 1) >> Int64(shift) >= bitsMax { shift += 1 }
        self.init(uncheckedShift: shift)
    }

    /// Bytes per bit.
    public var bytes: Int64 { 1 &<< Int64(shift) }
}

extension Granularity: Comparable {
    /// The finer granularity is the smaller one.
    public static func < (lhs: Granularity, rhs: Granularity) -> Bool { lhs.shift < rhs.shift }
}

extension Granularity: CustomStringConvertible {
    /// The size with its unit, such as `512 B`, `64 KiB` or `2 GiB`; always exact.
    public var description: String {
        switch shift {
        case ..<10: "\(bytes) B"
        case ..<20: "\(bytes >> 10) KiB"
        case ..<30: "\(bytes >> 20) MiB"
        default: "\(bytes >> 30) GiB"
        }
    }
}
