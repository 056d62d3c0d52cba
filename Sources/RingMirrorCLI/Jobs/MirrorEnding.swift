import ArgumentParser
import RingMirror

/// Says how a mirror ended, and what to do about it.
struct MirrorEnding {
    let sides: MirrorSides
    /// The named bitmap that the mirror worked on.
    let bitmap: String?
    /// The option that --resume does not go with, if the command had it.
    var leaveOut: String?
    /// Whether marks say what is copied.
    var isIncrement = false
    /// The same command line resumes the job.
    var resumesItself = false
    let output: OutputOptions

    private var source: Disk { sides.source }
    private var target: Disk { sides.target }

    /// Throws the exit code unless the target is a mirror and all that was to be recorded is.
    func tell(_ ended: RecordedMirror.Report) throws {
        let report = ended.mirror
        if output.json {
            if let comparison = ended.comparison {
                var event = Events.Comparison(comparison, event: "verify")
                if comparison.compared < source.geometry.size {
                    event.scope = "copied"
                    event.identical = nil
                } else if sides.hasLargerTarget {
                    event.scope = "prefix"
                }
                Events.print(event)
            }
            Events.print(
                Events.Report(
                    report, claim: ended.claim.kind, evidence: ended.claim.evidence,
                    record: ended, bitmap: bitmap))
        }
        output.noteMarks(report.markedBitmaps, of: target)
        if let exit = explain(report, ended) { throw exit }
        let words = ClaimWords(sides, bitmap: bitmap)
        for doubt in words.doubts(ended.claim) { output.warn(.weakClaim, doubt) }
        if !output.quiet && !output.json {
            for line in words.lines(ended) { Output.line(line) }
        }
        output.note(ended.partitionTableNote)
        try tellShortfalls(ended, words)
        guard let error = ended.recordError else { return }
        let what =
            bitmap.map {
                "bitmap '\($0)' could not be cleared, so that the next incremental mirror copies "
                    + "the same again"
            } ?? "the record of the job could not be removed"
        let failure = Failure(error)
        Complaint.report(
            failure.told("\(words.statement(ended.claim)), but \(what): \(error.told)", .failed),
            json: output.json)
        throw Exit.failed.asError
    }

    /// Says what is amiss although the target is what it should be.
    private func tellShortfalls(
        _ ended: RecordedMirror.Report, _ words: ClaimWords
    ) throws {
        guard !ended.shortfalls.isEmpty else { return }
        for error in ended.shortfalls {
            let text = "\(words.statement(ended.claim)), but \(error.told)"
            Complaint.report(Failure(error).told(text, .failed), json: output.json)
        }
        if ended.recordError == nil { throw Exit.failed.asError }
    }

    /// Says how a job without a record failed.
    func tellFailure(_ report: MirrorReport) -> ExitCode {
        if output.json { Events.print(Events.Report(report, claim: .notAMirror)) }
        output.noteMarks(report.markedBitmaps, of: target)
        guard let code = explain(report, nil) else {
            preconditionFailure("a job that succeeded has not failed")
        }
        return code
    }

    /// Says why the target is no mirror, and what to do about it; nil if it is one.
    private func explain(
        _ report: MirrorReport, _ recorded: RecordedMirror.Report?
    ) -> ExitCode? {
        switch report.outcome {
        case .mirrored: return nil
        case .failed(let error):
            say(error.told)
            listFailures(report)
            sayNotAMirror(report, recorded)
            return (error.category == .different ? Exit.different : Exit.failed).asError
        case .cancelled:
            say("interrupted")
            sayNotAMirror(report, recorded)
            return Exit.interrupted.asError
        }
    }

    private func say(_ text: String) { Message.say(text) }

    private func listFailures(_ report: MirrorReport) {
        for failure in report.failures.prefix(10) {
            say(
                "  \(failure.side.rawValue): \(failure.range.count) bytes at offset "
                    + "\(failure.range.lowerBound): \(failure.cause)")
        }
        if report.failures.count > 10 {
            say("  and \(report.failures.count - 10) more; --json lists all")
        }
    }

    /// The one thing that nobody may overlook.
    private func sayNotAMirror(_ report: MirrorReport, _ recorded: RecordedMirror.Report?) {
        say(
            "\(target.path) is NOT a mirror of \(source.path): "
                + "\(ByteSize.text(report.done)) of \(ByteSize.text(report.planned)) were copied"
                + (report.flushed || recorded?.resumableFrom != nil ? "" : ", and not flushed"))
        if let error = recorded?.recordError {
            say("the progress could not be recorded: \(error.told)")
        }
        if let recorded, let store = recorded.resumableFrom {
            say(
                "\(ByteSize.text(recorded.saved)) are safe and recorded in \(store): run the "
                    + "command again\(options) to continue")
        } else if sides.isNew && report.written == 0 && report.zeroed == 0 {
            sides.removeMade()
            say("\(target.path) was made for nothing and is removed again")
        } else if report.written == 0 && report.zeroed == 0 {
            say("nothing was written to \(target.path)")
        } else if case .failed(.verificationFailed) = report.outcome {
            // That has said what helps.
        } else {
            say(
                sides.isNew
                    ? "remove \(target.path) and run the command again, or run it with --overwrite "
                        + "and without --create"
                    : "run the command again to make it one"
                        + (isIncrement
                            ? "; if that is refused, because no mark tells of what was written, "
                                + "with --verify=all, or `ringmirror full`" : ""))
        }
    }

    /// What to change in the command line, so that it resumes the job.
    private var options: String {
        if resumesItself { return "" }
        return " with --resume" + (leaveOut.map { " and without \($0)" } ?? "")
    }
}

extension OutputOptions {
    /// Bitmaps of what was written that heard of it: incremental mirrors from there need it.
    func noteMarks(_ bitmaps: [String], of target: Disk) {
        guard !bitmaps.isEmpty else { return }
        let names = bitmaps.map { "'\($0)'" }.joined(separator: ", ")
        note(
            .targetBitmapsMarked,
            "what was written was marked in the bitmaps of \(target.path): \(names)")
    }

    /// What has to be mended before the target's partition table serves.
    func note(_ table: PartitionTableNote?) {
        guard let table else { return }
        switch table.problem {
        case .otherSectors: note(.partitionTableSectors, table.text)
        case .backupNotAtEnd: note(.partitionTableBackup, table.text)
        }
    }
}
