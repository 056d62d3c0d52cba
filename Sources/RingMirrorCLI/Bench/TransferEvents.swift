import RingMirror

/// The events of `bench transfer`.
extension Events {
    /// The full mirror that is made first and not counted.
    struct TransferWarmUp: Encodable {
        let event = "transferWarmUp"
        let written: Int64
        let seconds: Double
    }

    struct Transfer: Encodable {
        let event = "transfer"
        let round: Int
        let pattern: String?
        let share: Double?
        let dirtyBytes: Int64
        let mode: String
        let planned, read, written, zeroed, skipped: Int64
        let seconds: Double
        let bytesPerSecond: Int64

        init(
            _ transferCase: TransferCase, round: Int, dirtyBytes: Int64, _ report: MirrorReport
        ) {
            self.round = round
            pattern = transferCase.pattern?.rawValue
            share = transferCase.share
            self.dirtyBytes = dirtyBytes
            mode = transferCase.mode
            planned = report.planned
            read = report.read
            written = report.written
            zeroed = report.zeroed
            skipped = report.skipped
            seconds = report.seconds
            bytesPerSecond = Int64(report.rate)
        }
    }

    struct TransferSummary: Encodable {
        struct Case: Encodable {
            let mode: String
            let pattern: String?
            let share: Double?
            let dirtyBytes: Int64
            let seconds: Double
        }

        struct Crossing: Encodable {
            let pattern: String
            let share: Double?
        }

        let event = "transferSummary"
        let size, granularity: Int64
        let seed: UInt64
        let rounds: Int
        let cases: [Case]
        let crossings: [Crossing]

        init(_ results: TransferResults, size: Int64, _ settings: TransferSettings) {
            self.size = size
            granularity = settings.granularity.bytes
            seed = settings.seed
            rounds = settings.rounds
            cases = results.all.map {
                Case(
                    mode: $0.transferCase.mode, pattern: $0.transferCase.pattern?.rawValue,
                    share: $0.transferCase.share, dirtyBytes: $0.dirtyBytes, seconds: $0.seconds)
            }
            crossings = results.crossings.map {
                Crossing(pattern: $0.pattern.rawValue, share: $0.share)
            }
        }
    }
}
