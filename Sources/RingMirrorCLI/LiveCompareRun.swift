import ArgumentParser
import RingMirror

/// How disks are compared that are in use.
struct LiveCompareOptions: ParsableArguments {
    @Flag(help: "Compare again what the kernel says was written meanwhile (as root).")
    var live = false

    @Option(
        help: ArgumentHelp(
            "With --live: what this bitmap of the first has marked need not be the same.",
            valueName: "name"))
    var bitmap: String?

    @OptionGroup var store: StoreOptions

    /// What is wrong with the options; nil if nothing is.
    var refusal: String? {
        guard !live else {
            return bitmap == nil && store.file != nil
                ? "--bitmaps says where a bitmap is kept: it goes with --bitmap NAME" : nil
        }
        return bitmap != nil || store.file != nil
            ? "a bitmap says what need not be the same of a disk in use: it goes with --live" : nil
    }
}

/// Compares two disks while they are written, and says what it found.
struct LiveCompareRun {
    let first: Disk
    let second: Disk
    let bitmap: String?
    let store: StoreOptions
    let io: IOMethod
    let output: OutputOptions

    /// Throws the exit code unless both sides are identical, as far as they have to be.
    func run(_ complaint: Complaint) throws {
        let comparison = try complaint.perform { () throws(MirrorError) in
            try LiveComparison(
                first, second,
                bitmap: bitmap.map { ($0, records: .path(store.path(for: first))) }, io: io)
        }
        output.warnAbout([first, second])
        let words = JobWords(
            activity: "comparing", command: "compare", source: first.path.string,
            target: second.path.string, verb: "compared")
        let report = comparison.run { job in
            JobRun(job: job, words: words, output: output).run()
        }
        if output.json { Events.print(Events.Comparison(report, bitmap: bitmap)) }
        try end(report)
    }

    private func end(_ report: LiveComparison.Report) throws {
        try CompareRun.endIfInterrupted(report.error)
        switch report.verdict {
        case .identical where report.isIdentical:
            if !output.quiet && !output.json { praise(report) }
        case .identical, .different:
            if !output.json { explain(report) }
            throw Exit.different.asError
        case .unsettled(let bytes):
            Message.say(
                "\(ByteSize.text(bytes)) were written or differed in each of \(report.passes) "
                    + "passes: nothing is known of those, and all else is the same")
            throw Exit.failed.asError
        case nil:
            if let error = report.error { Message.say(error.told) }
            Message.say("the comparison did not finish")
            throw Exit.failed.asError
        }
    }

    private func praise(_ report: LiveComparison.Report) {
        let effort =
            "\(ByteSize.text(report.compared)) compared in \(Seconds.text(report.seconds)) s, in "
            + (report.passes == 1 ? "1 pass" : "\(report.passes) passes")
        if let bitmap {
            let marked = ByteSize.text(report.excused ?? 0)
            Output.line(
                "\(first.path) and \(second.path) are identical but for the \(marked) that "
                    + "bitmap '\(bitmap)' has marked: \(effort)")
        } else {
            Output.line(
                "\(first.path) and \(second.path) were identical at one moment"
                    + (report.moment.map { ", \(Timestamp.text($0))" } ?? "") + ": \(effort)")
        }
    }

    private func explain(_ report: LiveComparison.Report) {
        let (one, other) = report.last.sizes
        if one != other {
            Output.line("\(first.path) has \(one) bytes, \(second.path) has \(other)")
        }
        guard let offset = report.last.firstDifference else { return }
        Output.line(
            "\(first.path) and \(second.path) differ: first at offset \(offset), "
                + "\(report.last.differingBytes) bytes of what was compared last, where nothing "
                + "was written for several passes")
    }
}

extension LiveComparison.Report {
    /// When both sides were the same.
    var moment: Int64? {
        if case .identical(let moment) = verdict { moment } else { nil }
    }

    /// Whether it was found out if they are the same.
    var isKnown: Bool {
        switch verdict {
        case .identical, .different: true
        case .unsettled, nil: false
        }
    }

    /// Whether both are the same in all that has to be. Beyond the end of one side nothing does
    /// where a bitmap says what the other lacks.
    var isIdentical: Bool {
        moment != nil && (last.sizes.first == last.sizes.second || excused != nil)
    }
}

extension Events.Comparison {
    init(_ report: LiveComparison.Report, bitmap: String?) {
        self.init(report.last, event: "compare")
        scope = bitmap == nil ? "all" : "unmarked"
        identical = bitmap == nil && report.isKnown ? report.isIdentical : nil
        error = report.error.map(\.told)
        code = report.error.map { Failure($0).code }
        compared = report.compared
        read = report.read
        seconds = report.seconds
        passes = report.passes
        moment = report.moment
        markedBytes = report.excused
    }
}
