/// Which bit stands for which bytes: all the rounding rules of a bitmap, without its bits.
///
/// Granule `g` covers the bytes from `g * granularity` up to the next granule or the end of the
/// disk, so that the last granule may be short. Kept apart from the words so that every kind of
/// bitmap, with plain words or with atomic ones, rounds in the same way.
package struct BitmapGeometry: Sendable, Hashable {
    /// Bytes of the disk, 0 or more; needn't be a multiple of the granularity.
    package let size: Int64

    /// Bytes per bit.
    package let granularity: Granularity

    /// Number of bits, the short last granule included.
    package let granuleCount: Int

    /// - Throws: `negativeSize` and `tooManyGranules`.
    package init(size: Int64, granularity: Granularity) throws(DirtyBitmapError) {
        guard size >= 0 else { throw .negativeSize(size) }
        // size + granularity - 1 could overflow; this can't.
        let partial = size & (granularity.bytes - 1)
        let count = (size >> Int64(granularity.shift)) + (partial == 0 ? 0 : 1)
        guard count <= Int64(DirtyBitmap.granuleCountMax) else {
            throw .tooManyGranules(size: size, granularity: granularity)
        }
        self.size = size
        self.granularity = granularity
        self.granuleCount = Int(count)
    }

    /// Number of 64-bit words that hold one bit per granule.
    package var wordCount: Int { (granuleCount &+ 63) &>> 6 }

    /// The bits of a would-be last word that stand for no granule.
    package func bitsPastEnd(inLastWord word: UInt64) -> UInt64 {
        let used = granuleCount & 63
        return used == 0 ? 0 : word & (~0 &<< UInt64(used))
    }

    /// The finest granularity at which a disk of `size` bytes stays within `granuleCountMax` bits.
    ///
    /// Even `Int64.max` bytes need only 2^32 bits at 2 GiB, so there always is one.
    package static func smallestGranularity(forSize size: Int64) -> Granularity {
        for shift in Granularity.min.shift..<Granularity.max.shift {
            let granularity = Granularity(uncheckedShift: shift)
            if (try? BitmapGeometry(size: size, granularity: granularity)) != nil {
                return granularity
            }
        }
        return .max
    }

    /// The granule that holds the byte at `offset`.
    package func granule(at offset: Int64) -> Int {
        Int(offset &>> Int64(granularity.shift))
    }

    /// The offset of the first byte of a granule; `size` for the one past the last.
    package func offset(ofGranule granule: Int) -> Int64 {
        // Shifting granuleCount itself could overflow: 2^32 granules of 2 GiB are 2^63 bytes.
        granule >= granuleCount ? size : Int64(granule) &<< Int64(granularity.shift)
    }

    /// The bytes that a range of granules covers, the last granule cut at `size`.
    package func bytes(ofGranules granules: Range<Int>) -> Range<Int64> {
        offset(ofGranule: granules.lowerBound)..<offset(ofGranule: granules.upperBound)
    }

    /// The granules of which `range` holds at least one byte: rounded outward.
    package func granules(touching range: Range<Int64>) -> Range<Int> {
        check(range)
        guard !range.isEmpty else { return 0..<0 }
        return granule(at: range.lowerBound)..<(granule(at: range.upperBound &- 1) &+ 1)
    }

    /// The granules of which `range` holds every byte: rounded inward.
    ///
    /// A range that ends at `size` holds all of the last granule, short or not.
    package func granules(inside range: Range<Int64>) -> Range<Int> {
        check(range)
        let mask = granularity.bytes &- 1
        let lower = granule(at: range.lowerBound) &+ (range.lowerBound & mask == 0 ? 0 : 1)
        let upper = range.upperBound == size ? granuleCount : granule(at: range.upperBound)
        return lower < upper ? lower..<upper : 0..<0
    }

    /// Ranges are byte ranges of the disk: an offset beyond it is a defect of the caller.
    private func check(_ range: Range<Int64>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= size,
            "range \(range) isn't within the bitmap's \(size) bytes: clip it to 0..<\(size)")
    }

    /// Start offsets may be anywhere from 0 up to and including `size`, where scans end.
    package func check(start offset: Int64) {
        precondition(
            offset >= 0 && offset <= size,
            "offset \(offset) isn't within the bitmap: pass 0 to \(size)")
    }
}
