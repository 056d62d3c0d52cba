import RingMirror

/// Says in words what a mirror's claim says, and no more than that.
struct ClaimWords {
    private let source, target: Disk
    private let bitmap: String?
    private let isLarger: Bool

    init(_ sides: MirrorSides, bitmap: String?) {
        source = sides.source
        target = sides.target
        isLarger = sides.hasLargerTarget
        self.bitmap = bitmap
    }

    /// What makes the claim weaker, for warnings that even quiet commands give.
    func doubts(_ claim: MirrorClaim) -> [String] {
        claim.evidence.filter(\.isDoubt).map(\.text)
    }

    /// The claim, what it rests on, and what was done, line by line.
    func lines(_ ended: RecordedMirror.Report) -> [String] {
        let report = ended.mirror
        // What a comparison has found to be the same took no time of the copy.
        let isSame = ended.differences != nil && report.planned == 0
        var lines = [isSame ? statement(ended.claim) : head(ended.claim, report)]
        if let differences = ended.differences { lines.append(work(differences, report)) }
        if report.planned > 0 {
            lines += work(report)
        } else if let reason = report.ringRefusal {
            lines.append(reason.threadsLine)
        }
        lines += comparison(ended)
        for evidence in ended.claim.evidence {
            if case .provenMoment = evidence { lines.append("  proven: \(evidence.text)") }
        }
        if ended.claim.isConditional && ended.claim.kind != .notAMirror {
            lines += ended.claim.evidence.filter { !isSaid($0) }
                .map { "  rests on: \($0.text)" }
        }
        return lines
    }

    /// What a line of its own says already.
    private func isSaid(_ evidence: MirrorEvidence) -> Bool {
        switch evidence {
        case .copiedCompared, .allCompared, .provenMoment: true
        default: false
        }
    }

    private func head(_ claim: MirrorClaim, _ report: MirrorReport) -> String {
        guard claim.kind != .nothingCopied else { return statement(claim) }
        let size = source.geometry.size
        let amount =
            report.planned == size
            ? ByteSize.text(size)
            : "\(ByteSize.text(report.planned)) of \(ByteSize.text(size))"
        return statement(claim)
            + ": \(amount) \(report.pace)"
    }

    /// The claim alone.
    func statement(_ claim: MirrorClaim) -> String {
        let teller = bitmap.map { "bitmap '\($0)'" } ?? "the change map"
        let isMirror =
            "\(mirror) a mirror of \(source.path)"
            + (claim.provenMoment.map { " as it was at \(Timestamp.text($0.moment))" } ?? "")
        switch claim.kind {
        case .mirror: return isMirror
        case .mirrorByEvidence: return "\(isMirror) as far as can be known"
        case .mirrorByBitmap: return "\(isMirror) as far as \(teller) tells"
        case .nothingCopied:
            return "\(teller) is clean: nothing was copied from \(source.path) to \(target.path)"
        case .layerCopied:
            return "\(target.path) has what \(source.path) itself has"
        case .mixedPointsInTime:
            return "\(mirror) a copy of \(source.path) that mixes points in time"
        case .notAMirror, .unfinished, .committed, .streamed:
            return "\(target.path) is NOT a mirror of \(source.path)"
        }
    }

    /// Of a larger target only the part that was written.
    private var mirror: String {
        isLarger
            ? "the first \(ByteSize.text(source.geometry.size)) of \(target.path) are"
            : "\(target.path) is"
    }

    /// What was compared before the copy.
    private func work(_ differences: CompareReport, _ report: MirrorReport) -> String {
        let unread =
            differences.unreadBytes > 0
            ? ", of which \(ByteSize.text(differences.unreadBytes)) could not be read" : ""
        return "  \(ByteSize.text(differences.compared)) compared in "
            + "\(Seconds.text(differences.seconds)) s: "
            + (report.planned > 0
                ? "\(ByteSize.text(report.planned)) differed\(unread)" : "nothing differed")
    }

    private func work(_ report: MirrorReport) -> [String] {
        var parts = [
            "\(ByteSize.text(report.read)) read", "\(ByteSize.text(report.written)) written",
        ]
        if report.zeroed > 0 { parts.append("\(ByteSize.text(report.zeroed)) zeroed") }
        if report.skipped > 0 { parts.append("\(ByteSize.text(report.skipped)) already zero") }
        if report.retries > 0 { parts.append("\(report.retries) requests retried") }
        var lines = [
            "  " + parts.joined(separator: ", "),
            "  \(report.sourceCaching.summary) to \(report.targetCaching.summary), "
                + "\(ByteSize.text(Int64(report.requestSize))) requests",
        ]
        if let reason = report.ringRefusal {
            lines.append(reason.threadsLine)
        }
        if let reason = report.plainBuffersReason {
            lines.append("  buffers not registered: \(reason)")
        }
        return lines
    }

    private func comparison(_ ended: RecordedMirror.Report) -> [String] {
        guard let comparison = ended.comparison, comparison.compared > 0 else { return [] }
        let bytes = ByteSize.text(comparison.compared)
        let time = "in \(Seconds.text(comparison.seconds)) s"
        guard comparison.compared < source.geometry.size else {
            let other = isLarger ? "the first \(bytes) of \(target.path)" : "\(target.path)"
            return ["\(source.path) and \(other) are identical: \(bytes) compared \(time)"]
        }
        return ["the \(bytes) that were copied read back identical \(time)"]
    }
}

extension MirrorReport {
    /// How long it took, and how fast that was if anything moved.
    var pace: String {
        let time = "in \(Seconds.text(seconds)) s"
        return read + written + zeroed > 0 ? "\(time), \(ByteSize.text(rate))/s" : time
    }
}

extension RingError {
    /// Why threads did the work of a ring.
    var threadsLine: String { "  by threads, at some cost in speed: \(self)" }
}
