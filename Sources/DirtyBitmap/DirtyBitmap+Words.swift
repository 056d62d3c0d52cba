// Words of a bitmap of the same disk that somebody else keeps: in atomic words, or in the kernel.

extension DirtyBitmap {
    /// Marks dirty what the bits of one word of another bitmap of the same size stand for, rounding
    /// outward. Allocates nothing. The caller checks the invariants when all words are there.
    ///
    /// - Parameters:
    ///   - marks: the word; bits behind the last granule of the other bitmap must be 0.
    ///   - index: which word of the other bitmap it is.
    ///   - shift: how many times the other's granules have to be doubled to be as large as those of
    ///     this bitmap; 0 if they are.
    package mutating func merge(_ marks: UInt64, ofWord index: Int, finerBy shift: Int) {
        guard shift > 0 else {
            words[index] |= marks
            return
        }
        var rest = marks
        while rest != 0 {
            let bit = index &<< 6 &+ rest.trailingZeroBitCount
            let granule = bit &>> shift
            words[granule &>> 6] |= 1 &<< UInt64(granule & 63)
            // All bits of this granule, as far as they are in the word, are done with.
            let end = (granule &+ 1) &<< shift &- index &<< 6
            rest = end >= 64 ? 0 : rest & (~0 &<< UInt64(end))
        }
    }
}
