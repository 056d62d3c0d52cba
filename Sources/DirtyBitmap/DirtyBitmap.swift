/// Which parts of a disk are dirty: one bit per granule, in memory.
///
/// Offsets and sizes are in bytes of the disk. Setting rounds outward to whole granules, clearing
/// rounds inward, so that a byte that was marked dirty never gets lost to rounding. The size
/// needn't be a multiple of the granularity: the last granule is then short.
///
/// A bitmap has one owner and is copied only by `copy()`. It isn't synchronised: one thread changes
/// it, or several read it. No method allocates, except those that return a new bitmap or array.
///
/// Invariant: there are exactly as many words as the granules need, granule `g` is bit `g % 64` of
/// word `g / 64`, and the bits behind the last granule are zero. Counting, comparing and
/// serialising rely on it and look at whole words.
public struct DirtyBitmap: ~Copyable, Sendable {
    /// The most granules that a bitmap can have: 2^38 bits are 32 GiB of memory.
    ///
    /// That is 16 PiB of disk at 64 KiB, or 128 TiB at 512 bytes.
    public static let granuleCountMax = 1 << 38

    /// Size and rounding rules; set at init and never changed.
    package let geometry: BitmapGeometry

    /// The bits; owned by whoever owns the bitmap.
    package internal(set) var words: [UInt64]

    /// Makes a bitmap in which nothing is dirty.
    ///
    /// - Precondition: the size is 0 or more and the bitmap has at most `granuleCountMax` granules.
    ///   For sizes from outside, ask `byteCount(size:granularity:)` first: it throws instead.
    /// - Complexity: O(words).
    public init(size: Int64, granularity: Granularity = .default) {
        do {
            let geometry = try BitmapGeometry(size: size, granularity: granularity)
            self.init(geometry: geometry)
        } catch {
            preconditionFailure(error.description)
        }
    }

    init(geometry: BitmapGeometry) {
        self.geometry = geometry
        words = [UInt64](repeating: 0, count: geometry.wordCount)
    }

    /// The bytes of memory, and of the serialised form, that such a bitmap takes.
    ///
    /// - Throws: `negativeSize` or `tooManyGranules` where `init(size:granularity:)` would stop.
    /// - Complexity: O(1); nothing is allocated.
    public static func byteCount(
        size: Int64, granularity: Granularity
    ) throws(DirtyBitmapError) -> Int {
        try BitmapGeometry(size: size, granularity: granularity).wordCount * 8
    }

    /// Bytes of the disk.
    public var size: Int64 { geometry.size }

    /// Bytes per bit.
    public var granularity: Granularity { geometry.granularity }

    /// Number of bits; the last one may stand for a short granule.
    public var granuleCount: Int { geometry.granuleCount }

    /// Number of 64-bit words that hold the bits.
    public var wordCount: Int { words.count }

    /// A second bitmap with the same size, granularity and bits.
    ///
    /// The words are copied at once: sharing them until the first write would move the cost of the
    /// copy into the copy loop of a job.
    ///
    /// - Complexity: O(words).
    public func copy() -> DirtyBitmap {
        DirtyBitmap(copying: words, geometry: geometry)
    }

    /// Memory is written once, and not cleared before: bitmaps are large.
    private init(copying source: [UInt64], geometry: BitmapGeometry) {
        self.geometry = geometry
        words = []
        words.reserveCapacity(source.count)
        words.append(contentsOf: source)
    }

    /// Whether both have the same size, the same granularity and the same bits.
    ///
    /// - Complexity: O(words).
    public func isEqual(to other: borrowing DirtyBitmap) -> Bool {
        geometry == other.geometry && words == other.words
    }

    /// Whether both have the same size, the same granularity and the same bits.
    public static func == (lhs: borrowing DirtyBitmap, rhs: borrowing DirtyBitmap) -> Bool {
        lhs.isEqual(to: rhs)
    }

    /// Stops the program if the invariant doesn't hold; does nothing in a release build.
    ///
    /// - Complexity: O(1), so that every mutation can end with it.
    package func checkInvariants() {
        assert(words.count == geometry.wordCount, "the words don't match the number of granules")
        assert(
            geometry.bitsPastEnd(inLastWord: words.last ?? 0) == 0,
            "bits behind the last granule are set")
    }
}
