extension Range {
    /// The smallest range that has all of this one and of another in it, and what is between them.
    /// An empty range counts as well, by its place.
    @inlinable
    package func spanning(_ other: Range) -> Range {
        Swift.min(lowerBound, other.lowerBound)..<Swift.max(upperBound, other.upperBound)
    }
}
