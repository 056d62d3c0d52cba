import ArgumentParser
import RingMirror

/// What `bench transfer` measures, as given on the command line.
struct TransferOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Bytes of a granule, a power of two from 512 to 2G.", valueName: "size"))
    var granularity = ByteSize(bytes: Granularity.default.bytes)

    @Option(
        help: ArgumentHelp(
            "Dirty shares in percent, separated by commas.", valueName: "percents"))
    var shares = PercentList(percents: [0.1, 0.3, 1, 3, 10, 30, 100])

    @Option(help: "Patterns, separated by commas: random, clumped, sequential.")
    var patterns = PatternList(patterns: DirtyPattern.allCases)

    @Option(
        help: ArgumentHelp(
            "Times that each case is measured; the results are medians.", valueName: "count"))
    var rounds = 1

    @Option(
        help: ArgumentHelp(
            "Number that determines what is dirty, and the order of the cases.",
            valueName: "number"))
    var seed: UInt64 = 1

    @Option(
        help: ArgumentHelp("Bytes of a clump; rounded up to whole granules.", valueName: "size"))
    var clump = ByteSize(bytes: 4 << 20)

    func validate() throws {
        guard rounds >= 1 && rounds <= 1000 else {
            throw ValidationError("--rounds must be from 1 to 1000, not \(rounds)")
        }
        guard clump.bytes >= 1 else {
            throw ValidationError("--clump must be at least 1 byte")
        }
        _ = try checkedGranularity()
    }

    func settings() throws -> TransferSettings {
        TransferSettings(
            cases: TransferCase.all(patterns: patterns.patterns, percents: shares.percents),
            granularity: try checkedGranularity(), clump: clump.bytes, rounds: rounds, seed: seed)
    }

    private func checkedGranularity() throws -> Granularity {
        do {
            return try Granularity(bytes: granularity.bytes)
        } catch {
            throw ValidationError("--granularity: \(error)")
        }
    }
}

/// `0.1,1,10`: numbers above 0 and up to 100, each once and ascending.
struct PercentList: ExpressibleByArgument {
    let percents: [Double]

    init(percents: [Double]) { self.percents = percents }

    init?(argument: String) {
        var percents: Set<Double> = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            guard let percent = Double(part), percent > 0, percent <= 100 else { return nil }
            percents.insert(percent)
        }
        self.percents = percents.sorted()
    }

    var defaultValueDescription: String {
        percents.map(TransferCase.text).joined(separator: ",")
    }
}

/// `random,sequential`: each once, in the order of the table.
struct PatternList: ExpressibleByArgument {
    let patterns: [DirtyPattern]

    init(patterns: [DirtyPattern]) { self.patterns = patterns }

    init?(argument: String) {
        var patterns: Set<DirtyPattern> = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            guard let pattern = DirtyPattern(rawValue: String(part)) else { return nil }
            patterns.insert(pattern)
        }
        self.patterns = DirtyPattern.allCases.filter(patterns.contains)
    }

    var defaultValueDescription: String {
        patterns.map(\.rawValue).joined(separator: ",")
    }
}
