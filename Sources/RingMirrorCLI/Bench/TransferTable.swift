import RingMirror

/// The results of `bench transfer` for people, within 80 columns.
enum TransferTable {
    static func lines(_ results: TransferResults) -> [String] {
        [row(["pattern", "share", "dirty", "moved", "time", "MiB/s", "of full"])]
            + results.all.map { cells($0, full: results.fullSeconds) }.map(row) + [""]
            + results.crossings.map { crossing($0.pattern, $0.points, $0.share) }
    }

    private static let widths = [10, 9, 12, 12, 11, 8, 10]

    private static func row(_ cells: [String]) -> String {
        zip(cells, widths).enumerated().map { index, cell in
            let (text, width) = cell
            let blanks = String(repeating: " ", count: max(1, width - text.count))
            return index == 0 ? text + blanks : blanks + text
        }.joined()
    }

    private static func cells(_ result: TransferResult, full: Double) -> [String] {
        var share = "-"
        if case .incremental(_, let percent) = result.transferCase {
            share = TransferCase.text(percent) + " %"
        }
        return [
            result.transferCase.pattern?.rawValue ?? "full",
            share,
            ByteSize.text(result.dirtyBytes),
            ByteSize.text(result.movedBytes),
            Seconds.fixed(result.seconds, digits: 3) + " s",
            "\(Int64(result.bytesPerSecond / 1_048_576))",
            full > 0 ? Seconds.fixed(result.seconds / full * 100, digits: 1) + " %" : "-",
        ]
    }

    private static func crossing(
        _ pattern: DirtyPattern, _ points: [Crossing.Point], _ share: Double?
    ) -> String {
        let name = pattern.rawValue + ":"
        guard let first = points.first, let last = points.last else { return "" }
        guard let share else {
            return "\(name) incremental is faster up to \(percent(last.share)) dirty, "
                + "the largest share measured"
        }
        if share == first.share {
            return "\(name) full is as fast already at \(percent(first.share)) dirty, "
                + "the smallest share measured"
        }
        return "\(name) incremental takes as long as full at about "
            + "\(Seconds.fixed(share * 100, digits: share < 0.01 ? 3 : 1)) % dirty"
    }

    private static func percent(_ share: Double) -> String {
        // A share is a percentage divided by 100, and that is not undone exactly.
        TransferCase.text((share * 100 * 1e6).rounded() / 1e6) + " %"
    }
}
