import RingMirror

/// What was measured of one case, once for each round.
struct TransferResult {
    let transferCase: TransferCase
    private(set) var dirty: [Int64] = []
    private(set) var reports: [MirrorReport] = []

    init(_ transferCase: TransferCase) { self.transferCase = transferCase }

    mutating func add(_ report: MirrorReport, dirtyBytes: Int64) {
        dirty.append(dirtyBytes)
        reports.append(report)
    }

    var seconds: Double { median(reports.map(\.seconds)) }

    /// Rounds differ at most by a short last granule.
    var dirtyBytes: Int64 { Int64(median(dirty.map(Double.init))) }

    /// What went from the one disk to the other.
    var movedBytes: Int64 { Int64(median(reports.map { Double($0.written) })) }

    var bytesPerSecond: Double { median(reports.map(\.rate)) }
}

/// The results of all cases, the full mirror's first.
struct TransferResults {
    var all: [TransferResult]

    init(_ cases: [TransferCase]) { all = cases.map(TransferResult.init) }

    /// The median time of the full mirror.
    var fullSeconds: Double { all.first { $0.transferCase == .full }?.seconds ?? 0 }

    /// For each pattern that was measured, where its line crosses that of the full mirror.
    var crossings: [(pattern: DirtyPattern, points: [Crossing.Point], share: Double?)] {
        let patterns = all.compactMap(\.transferCase.pattern)
        return DirtyPattern.allCases.filter(patterns.contains).map { pattern in
            let points = all.filter { $0.transferCase.pattern == pattern }.map {
                (share: $0.transferCase.share ?? 1, seconds: $0.seconds)
            }
            return (pattern, points, Crossing.share(of: points, full: fullSeconds))
        }
    }
}
