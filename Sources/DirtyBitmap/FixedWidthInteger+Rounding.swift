/// Rounding of offsets, lengths and counts, in one place: by hand it is short, and easily wrong by
/// one.
extension FixedWidthInteger {
    /// The smallest multiple of `unit` that is not below this number.
    ///
    /// Precondition: `unit` is a power of two, and the type has that multiple.
    @inlinable
    package func roundedUp(to unit: Self) -> Self {
        precondition(unit > 0 && unit.nonzeroBitCount == 1, "the unit is not a power of two")
        let mask = unit - 1
        return (self + mask) & ~mask
    }

    /// The largest multiple of `unit` that is not above this number.
    ///
    /// Precondition: `unit` is a power of two.
    @inlinable
    package func roundedDown(to unit: Self) -> Self {
        precondition(unit > 0 && unit.nonzeroBitCount == 1, "the unit is not a power of two")
        return self & ~(unit - 1)
    }

    /// How many pieces of `unit` cover this number: the quotient, rounded up.
    ///
    /// Precondition: this number is not negative, and `unit` is positive. Any unit will do.
    @inlinable
    package func dividedRoundingUp(by unit: Self) -> Self {
        precondition(self >= 0 && unit > 0, "a negative number, or a unit that is not positive")
        let (quotient, remainder) = quotientAndRemainder(dividingBy: unit)
        return remainder == 0 ? quotient : quotient + 1
    }
}
