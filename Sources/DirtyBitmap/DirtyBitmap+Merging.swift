// Combining two bitmaps of the same disk. Both granularities may differ, in either direction.

extension DirtyBitmap {
    /// Marks dirty what `other` has dirty, rounding outward to the granules of this bitmap.
    ///
    /// - Throws: `sizesDiffer` if the sizes aren't equal; nothing has changed then.
    /// - Complexity: O(words) for equal granularities, else O(words and runs of `other`).
    public mutating func merge(_ other: borrowing DirtyBitmap) throws(DirtyBitmapError) {
        try requireSameSize(other)
        merge(sameSize: other)
    }

    /// The same for a bitmap that is known to be of the same disk.
    ///
    /// - Precondition: the sizes are equal.
    package mutating func merge(sameSize other: borrowing DirtyBitmap) {
        precondition(size == other.size, "bitmaps of disks of different sizes")
        if granularity == other.granularity {
            let source = other.words.span
            var target = words.mutableSpan
            for index in source.indices { target[index] |= source[index] }
        } else {
            let geometry = geometry
            other.forEachDirtyRun { run in setBits(geometry.granules(touching: run)) }
        }
        checkInvariants()
    }

    /// Marks clean what `other` has dirty, rounding inward to the granules of this bitmap.
    ///
    /// A granule gets clean only if `other` has all of its bytes dirty.
    ///
    /// - Throws: `sizesDiffer` if the sizes aren't equal; nothing has changed then.
    /// - Complexity: O(words) for equal granularities, else O(words and runs of `other`).
    public mutating func subtract(_ other: borrowing DirtyBitmap) throws(DirtyBitmapError) {
        try requireSameSize(other)
        subtract(sameSize: other)
    }

    /// The same for a bitmap that is known to be of the same disk.
    ///
    /// - Precondition: the sizes are equal.
    package mutating func subtract(sameSize other: borrowing DirtyBitmap) {
        precondition(size == other.size, "bitmaps of disks of different sizes")
        if granularity == other.granularity {
            let source = other.words.span
            var target = words.mutableSpan
            for index in source.indices { target[index] &= ~source[index] }
        } else {
            // Runs are maximal: what covers a granule of ours is one run, however many granules
            // of `other` it is made of.
            let geometry = geometry
            other.forEachDirtyRun { run in clearBits(geometry.granules(inside: run)) }
        }
        checkInvariants()
    }

    private func requireSameSize(_ other: borrowing DirtyBitmap) throws(DirtyBitmapError) {
        guard size == other.size else { throw .sizesDiffer(size: size, other: other.size) }
    }
}
