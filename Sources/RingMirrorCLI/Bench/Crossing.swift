/// Where the time of incremental mirrors, as a line over the dirty share, meets the time of a full
/// one.
enum Crossing {
    /// A measured point: the dirty share, from 0 to 1, and what the mirror took.
    typealias Point = (share: Double, seconds: Double)

    /// The smallest share at which an incremental mirror takes as long as the full one.
    ///
    /// Between two measured shares the line is straight. Where even the smallest share takes as
    /// long or longer, nothing is known of what lies below, and that share is the answer.
    ///
    /// - Parameter points: by ascending share.
    /// - Returns: nil if the lines don't cross within what was measured.
    static func share(of points: [Point], full: Double) -> Double? {
        guard let end = points.firstIndex(where: { $0.seconds >= full }) else { return nil }
        guard end > 0 else { return points[end].share }
        let (before, after) = (points[end - 1], points[end])
        // The one is below the full time and the other is not, so that this isn't 0.
        let rise = after.seconds - before.seconds
        let part = (full - before.seconds) / rise
        return before.share + (after.share - before.share) * part
    }
}

/// The middle of some numbers; between the middle two if there are two. 0 if there are none.
func median(_ values: [Double]) -> Double {
    guard !values.isEmpty else { return 0 }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
