/// One thing to measure: a full mirror, or an incremental one of a share of the disk.
enum TransferCase: Hashable, Sendable {
    case full
    case incremental(DirtyPattern, percent: Double)

    var pattern: DirtyPattern? {
        if case .incremental(let pattern, _) = self { pattern } else { nil }
    }

    /// The dirty share, from 0 to 1; nil for a full mirror.
    var share: Double? {
        if case .incremental(_, let percent) = self { percent / 100 } else { nil }
    }

    /// `full` or `incremental`, as in JSON.
    var mode: String { pattern == nil ? "full" : "incremental" }

    /// For a line of progress.
    var title: String {
        switch self {
        case .full: "full"
        case .incremental(let pattern, let percent): "\(pattern.rawValue) \(Self.text(percent)) %"
        }
    }

    /// `0.1`, `30`: as the user would write it.
    static func text(_ percent: Double) -> String {
        let text = "\(percent)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    /// The full mirror, then each pattern by ascending share: the order of the table.
    static func all(patterns: [DirtyPattern], percents: [Double]) -> [TransferCase] {
        [.full]
            + patterns.flatMap { pattern in
                percents.sorted().map { .incremental(pattern, percent: $0) }
            }
    }

    /// Each case once, in an order that the seed determines: what changes with time, such as the
    /// temperature of a disk, then falls on no case more than on another. Each comes with a seed of
    /// its own for what is dirty.
    static func round(
        of cases: [TransferCase], numbers: inout SeededNumbers
    ) -> [(index: Int, seed: UInt64)] {
        let seeded = cases.indices.map { (index: $0, seed: numbers.next()) }
        return numbers.shuffled(seeded)
    }
}
