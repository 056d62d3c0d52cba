import FoundationEssentials
import RingMirror

/// What `--json` prints: one object on a line for each event. The fields are a contract,
/// docs/json.md; fields may be added, and readers ignore those they don't know.
enum Events {
    static func print(_ event: some Encodable) {
        let (text, isWhole) = line(event)
        if !isWhole { Output.loseEvent() }
        Output.line(text)
    }

    /// An event, or the error that stands in its place: a reader must not take what is missing for
    /// nothing.
    static func line(_ event: some Encodable) -> (text: String, isWhole: Bool) {
        do {
            return (try encode(event), true)
        } catch {
            let failure = RingMirrorCLI.Failure(
                .outputLost, "an event could not be written: \(error)", .failed)
            return ((try? encode(Failure(failure))) ?? "{}", false)
        }
    }

    private static func encode(_ event: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return VisibleText.json(String(decoding: try encoder.encode(event), as: UTF8.self))
    }

    struct Start: Encodable {
        let event = "start"
        let version = RingMirrorCommand.version
        /// Grows when a field changes its meaning or goes, which none has yet.
        let schema = 1
        let pid = Output.processID
        /// Seconds since 1970.
        let time = Timestamp.now
        let command: String
        let source: String
        let target: String
        let size: Int64
        var bitmap: String?
        /// When the job that is gone on with began, in seconds since 1970.
        var resumedFrom: Int64?
        var saved: Int64?
    }

    struct Progress: Encodable {
        let event: String
        let planned: Int64
        let done: Int64
        var read: Int64?
        var written: Int64?
        var zeroed: Int64?
        var skipped: Int64?
        let bytesPerSecond: Int64
        var etaSeconds: Double?
        var paused: Bool?
        var pausedBy: String?
        var phase: String?
        var saved: Int64?
    }

    struct Failure: Encodable {
        let event = "error"
        let code, message: String
        let path, remedy: String?
        let offset: Int64?
        let exitCode: Int32

        init(_ failure: RingMirrorCLI.Failure) {
            code = failure.code
            message = VisibleText.line(failure.message)
            path = failure.path
            remedy = failure.remedy
            offset = failure.offset
            exitCode = failure.exit.rawValue
        }
    }

    /// One thing that a claim rests on, or that weakens it.
    struct Evidence: Encodable {
        let code, text: String

        init(_ evidence: MirrorEvidence) {
            code = evidence.code
            text = VisibleText.line(evidence.text)
        }
    }

    struct FailedBytes: Encodable {
        let side: String
        let offset: Int64
        let length: Int64
        let cause: String
    }

    struct Report: Encodable {
        let event = "report"
        let outcome: String
        let error: String?
        let code: String?
        let claim: String
        let evidence: [Evidence]
        let markedBitmaps: [String]
        let planned, done, read, written, zeroed, skipped: Int64
        let retries: UInt64
        let failed: [FailedBytes]
        let flushed: Bool
        let bitmap: String?
        let resumableFrom: String?
        let saved: Int64?
        let recordError: String?
        let compared, differing: Int64?
        let compareSeconds: Double?
        let seconds, cpuSeconds: Double
        let bytesPerSecond: Int64
        let requestSize, depth, rings: Int
        let sourceCache, targetCache: String
        let io: String?
        let registeredBuffers: Bool
        let enters, submissions, completions: UInt64
    }

    struct Comparison: Encodable {
        let event: String
        /// What was compared: `all`, or what was `copied`.
        var scope = "all"
        /// Nil where less than all was compared, or nothing.
        var identical: Bool?
        var error: String?
        var code: String?
        let firstSize, secondSize: Int64
        var compared, read: Int64
        let differingBytes: Int64
        let differingClusters: Int
        let clusterSize: Int64
        let firstDifference: Int64?
        var seconds: Double
        let bytesPerSecond: Int64
        let io: String?
        /// With --live: how often something was compared, when both were the same, and what need
        /// not be because the bitmap has it marked.
        var passes: Int?
        var moment: Int64?
        var markedBytes: Int64?
    }
}
