/// Durations, for people.
enum Seconds {
    /// Such as `3.07`.
    static func text(_ value: Double) -> String { fixed(value, digits: 2) }

    /// A number of 0 or more with this many digits behind the point.
    static func fixed(_ value: Double, digits: Int) -> String {
        var scale = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((min(value, 1e12) * Double(scale)).rounded())
        let rest = String(scaled % Int64(scale))
        return "\(scaled / Int64(scale))." + String(repeating: "0", count: digits - rest.count)
            + rest
    }
}
