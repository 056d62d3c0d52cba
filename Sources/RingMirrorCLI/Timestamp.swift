import FoundationEssentials

/// Points in time, for people.
enum Timestamp {
    /// In seconds since 1970.
    static var now: Int64 { Int64(Date().timeIntervalSince1970) }

    /// Such as `2026-11-25 13:37:00 UTC`.
    static func text(_ secondsSince1970: Int64) -> String {
        let style = Date.ISO8601FormatStyle(
            dateSeparator: .dash, dateTimeSeparator: .space, timeSeparator: .colon)
        let text = Date(timeIntervalSince1970: Double(secondsSince1970)).formatted(style)
        return text.hasSuffix("Z") ? text.dropLast() + " UTC" : text
    }
}
