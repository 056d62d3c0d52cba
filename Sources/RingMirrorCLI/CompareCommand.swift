import ArgumentParser
import RingMirror

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Compare two disks or images byte for byte.",
        usage: "ringmirror compare <first> <second> [<options>]",
        discussion: """
            The exit code is 0 if they are identical and 4 if they differ; of two sides without \
            any bytes it is 0, and they are not called identical. Both sides are read with \
            O_DIRECT where that works: what counts is what the devices have, not what the page \
            cache has.

            Disks of different sizes differ, and what they have in common is compared all the \
            same. A qcow2 image whose size was rounded up to whole sectors, with zeros, is no \
            different for that. A side that something writes meanwhile proves nothing: that is 1. \
            With --live the first may be written: what is, is compared again, until both were the \
            same at one moment. With a bitmap, for which the first has to be tracked, only what \
            that does not have marked has to be the same.

            Examples:
              ringmirror compare /dev/nvme0n1 /dev/nvme1n1
              ringmirror compare /dev/sda /dev/sdb --live --bitmap nightly
              ringmirror compare vm.qcow2 backup.img
            """)

    @Argument(help: "A disk or image.", completion: .file())
    var first: PathArgument

    @Argument(help: "The disk or image to compare with.", completion: .file())
    var second: PathArgument

    @OptionGroup(title: "Disks in use") var live: LiveCompareOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Formats") var formats: Formats
    @OptionGroup(title: "Formats") var files: NamedFileOptions
    @OptionGroup(title: "Tuning") var tuning: Tuning

    struct Formats: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "What the first is (default: by its name and content).", valueName: "format"))
        var firstFormat: ImageFormat?

        @Option(
            help: ArgumentHelp(
                "What the second is (default: by its name and content).", valueName: "format"))
        var secondFormat: ImageFormat?
    }

    struct Tuning: ParsableArguments {
        @Option(help: IOMethod.help)
        var io = IOMethod.automatic

        @Option(help: CacheChoice.help)
        var cache = CacheChoice.automatic
    }

    func validate() throws { try live.refusal.refuse() }

    func run() throws {
        let complaint = Complaint(output: output)
        // Reading harms nothing; a disk in use may change meanwhile, which is the caller's business
        // here.
        var options = SourceOptions(
            cache: tuning.cache, allowSourceInUse: true, namedFileOnly: files.noBacking)
        options.expectsUse = live.live
        let first = try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                self.first.path, format: formats.firstFormat, role: .first,
                foreignFormats: .note, options: options)
        }
        let second = try complaint.attempt { () throws(StorageError) in
            try Disk.openSource(
                self.second.path, format: formats.secondFormat, role: .second,
                foreignFormats: .note, options: options)
        }
        if live.live {
            let run = LiveCompareRun(
                first: first, second: second, bitmap: live.bitmap, store: live.store,
                io: tuning.io, output: output)
            return try run.run(complaint)
        }
        let run = CompareRun(
            job: CompareJob(first, second, isByName: true, io: tuning.io), first: first,
            second: second, output: output, event: "compare")
        try run.run()
    }
}

/// Runs a comparison for a command, and says what it found.
struct CompareRun {
    let job: CompareJob
    let first: Disk
    let second: Disk
    let output: OutputOptions
    let event: String
    var command = "compare"

    /// Throws the exit code unless both sides are identical.
    func run() throws {
        let report = compare()
        if output.json { Events.print(Events.Comparison(report, event: event)) }
        try end(report)
    }

    /// Runs the comparison, watched and stopped by signals, and leaves the report to the caller.
    func compare() -> CompareReport {
        output.warnAbout([first, second])
        let words = JobWords(
            activity: "comparing", command: command, source: first.path.string,
            target: second.path.string, verb: "compared")
        return JobRun(job: job, words: words, output: output).run()
    }

    /// Ends the command if somebody has stopped the comparison.
    static func endIfInterrupted(_ error: MirrorError?) throws {
        guard case .cancelled = error else { return }
        Message.say("interrupted: the comparison did not finish")
        throw Exit.interrupted.asError
    }

    private func end(_ report: CompareReport) throws {
        try Self.endIfInterrupted(report.error)
        if let error = report.error {
            Message.say(error.told)
            switch error {
            case .writtenMeanwhile, .movedMeanwhile:
                Message.say("no difference was found, and that proves nothing")
            default: Message.say("the comparison did not finish")
            }
            throw Exit.failed.asError
        }
        if let disturbance = report.disturbance { output.warn(.mirror, disturbance.told) }
        if report.isIdentical {
            if report.padding > 0 {
                let longer = report.sizes.first > report.sizes.second ? first : second
                output.note(
                    .mirror,
                    "\(longer.path) is \(report.padding) bytes longer, all zeros: a qcow2 image "
                        + "has whole sectors of 512 bytes")
            }
            if !output.quiet && !output.json { praise(report) }
            return
        }
        if !output.json { explain(report) }
        throw Exit.different.asError
    }

    private func praise(_ report: CompareReport) {
        guard report.compared > 0 else {
            return Output.line(
                "\(first.path) and \(second.path) have 0 bytes both: there was nothing to compare")
        }
        Output.line(
            "\(first.path) and \(second.path) are identical: "
                + "\(ByteSize.text(report.compared)) compared in \(Seconds.text(report.seconds)) s")
        if let reason = report.ringRefusal { Output.line(reason.threadsLine) }
    }

    private func explain(_ report: CompareReport) {
        if report.sizes.first != report.sizes.second {
            Output.line(
                "\(first.path) has \(report.sizes.first) bytes, \(second.path) has "
                    + "\(report.sizes.second)")
        }
        guard let offset = report.firstDifference else {
            if report.compared > 0 {
                Output.line("the first \(report.compared) bytes are identical")
            }
            return
        }
        Output.line(
            "\(first.path) and \(second.path) differ: first at offset \(offset), "
                + "\(report.differingBytes) bytes in \(report.differingClusters) clusters of "
                + ByteSize.text(report.clusterSize))
    }
}

extension Events.Comparison {
    init(_ report: CompareReport, event: String) {
        self.event = event
        identical = report.compared > 0 || !report.isIdentical ? report.isIdentical : nil
        error = report.error.map(\.told)
        code = report.error.map { Failure($0).code }
        firstSize = report.sizes.first
        secondSize = report.sizes.second
        compared = report.compared
        read = report.read
        differingBytes = report.differingBytes
        differingClusters = report.differingClusters
        clusterSize = report.clusterSize
        firstDifference = report.firstDifference
        seconds = report.seconds
        bytesPerSecond = Int64(report.seconds > 0 ? Double(report.compared) / report.seconds : 0)
        io = report.io?.rawValue
    }
}
