import RingMirror

// How the results of mirrors become events.

extension Events.Progress {
    init(_ progress: JobProgress, _ line: ProgressLine) {
        self.init(
            event: "progress", planned: progress.planned, done: progress.done,
            read: progress.read, written: progress.written, zeroed: progress.zeroed,
            skipped: progress.skipped, bytesPerSecond: line.bytesPerSecond,
            etaSeconds: line.etaSeconds, paused: progress.isPaused,
            pausedBy: progress.pausedBy.map(\.told), phase: progress.activity.rawValue,
            saved: line.saved > 0 ? line.saved : nil)
    }
}

extension Events.Report {
    /// - Parameters:
    ///   - claim: what may be said of the target.
    ///   - record: how the job ended for its record; nil if it has none.
    ///   - bitmap: the named bitmap that the job worked on.
    init(
        _ report: MirrorReport, claim: MirrorClaim.Kind, evidence: [MirrorEvidence] = [],
        record: RecordedMirror.Report? = nil, bitmap: String? = nil
    ) {
        var failure: Failure?
        switch report.outcome {
        case .mirrored: outcome = "mirrored"
        case .cancelled:
            outcome = "cancelled"
            failure = Failure(MirrorError.cancelled)
        case .failed(let error):
            outcome = "failed"
            failure = Failure(error)
        }
        code = failure?.code
        error = outcome == "failed" ? failure?.message : nil
        self.claim = claim.rawValue
        self.evidence = evidence.map { Events.Evidence($0) }
        markedBitmaps = report.markedBitmaps
        planned = report.planned
        done = report.done
        read = report.read
        written = report.written
        zeroed = report.zeroed
        skipped = report.skipped
        retries = report.retries
        failed = report.failures.map {
            Events.FailedBytes(
                side: $0.side.rawValue, offset: $0.range.lowerBound,
                length: Int64($0.range.count), cause: "\($0.cause)")
        }
        flushed = report.flushed
        self.bitmap = bitmap
        resumableFrom = record?.resumableFrom?.string
        saved = record.flatMap { $0.resumableFrom == nil ? nil : $0.saved }
        recordError = record?.recordError.map(\.told)
        compared = record?.differences?.compared
        differing = record?.differences == nil ? nil : report.planned
        compareSeconds = record?.differences?.seconds
        seconds = report.seconds
        cpuSeconds = report.cpuSeconds
        bytesPerSecond = Int64(report.rate)
        requestSize = report.requestSize
        depth = report.depth
        rings = report.rings
        sourceCache = report.sourceCaching.summary
        targetCache = report.targetCaching.summary
        io = report.io?.rawValue
        registeredBuffers = report.io == .uring && report.plainBuffersReason == nil
        enters = report.statistics.enters
        submissions = report.statistics.submissions
        completions = report.statistics.completions
    }
}
