/// A point in time as messages show it, such as `2026-11-25 13:37:00.250 UTC`.
package struct UTCTime: CustomStringConvertible {
    private let nanoseconds: Int64

    /// - Parameter nanoseconds: since 1970.
    package init(_ nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// - Parameter seconds: since 1970; the first or last time there is for what is beyond.
    package init(seconds: Int64) {
        let (product, isTooLarge) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        nanoseconds = !isTooLarge ? product : seconds < 0 ? .min : .max
    }

    package var description: String {
        let milliseconds = Self.floored(nanoseconds, by: 1_000_000)
        let fraction = Self.floored(milliseconds.quotient, by: 1000).remainder
        return "\(second).\(Self.padded(fraction, 3)) UTC"
    }

    /// Such as `2026-11-25 13:37:00 UTC`.
    package var toTheSecond: String { "\(second) UTC" }

    private var second: String {
        let seconds = Self.floored(nanoseconds, by: 1_000_000_000).quotient
        let days = Self.floored(seconds, by: 86400)
        let date = Self.date(day: days.quotient)
        let time = days.remainder
        let clock = [time / 3600, time / 60 % 60, time % 60].map { Self.padded($0, 2) }
        let day = [
            Self.padded(date.year, 4), Self.padded(date.month, 2), Self.padded(date.day, 2),
        ]
        return day.joined(separator: "-") + " " + clock.joined(separator: ":")
    }

    /// The Gregorian date of a day since 1970. Years begin in March here, so that the day that
    /// leap years add comes last.
    private static func date(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let daysPerEra: Int64 = 146_097
        let era = floored(day + 719_468, by: daysPerEra)
        let inEra = era.remainder
        let yearOfEra =
            (inEra - inEra / 1460 + inEra / 36524 - inEra / (daysPerEra - 1)) / 365
        let inYear = inEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * inYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era.quotient * 400 + (month <= 2 ? 1 : 0)
        return (year, month, inYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    private static func floored(
        _ value: Int64, by divisor: Int64
    ) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    private static func padded(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
