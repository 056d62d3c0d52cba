import RingMirror

/// What `bench transfer` is to measure.
struct TransferSettings {
    let cases: [TransferCase]
    let granularity: Granularity
    /// Bytes of a clump.
    let clump: Int64
    let rounds: Int
    let seed: UInt64

    /// A clump in whole granules, at least one.
    var clumpGranules: Int { Int((max(clump, 1) - 1) / granularity.bytes + 1) }
}

/// Runs the cases of `bench transfer` one after another on the same two disks.
struct TransferRun {
    let sides: MirrorSides
    let settings: TransferSettings
    let options: MirrorOptions
    let output: OutputOptions

    private var source: Disk { sides.source }
    private var target: Disk { sides.target }
    private var size: Int64 { source.geometry.size }

    /// Throws the exit code if a job does not end with a mirror.
    func run() throws {
        // An interrupt between two jobs stops the next one, which then says what is left behind.
        let results = try Signals.during(.making("bench transfer")) { try runCases() }
        if output.json {
            Events.print(Events.TransferSummary(results, size: size, settings))
        } else if !output.quiet {
            for text in TransferTable.lines(results) { Output.line(text) }
        }
    }

    private func runCases() throws -> TransferResults {
        if output.json {
            Events.print(
                Events.Start(
                    command: "bench transfer", source: source.path.string,
                    target: target.path.string, size: size))
        }
        output.tellAbout(source, target)
        try warmUp()
        return try measure()
    }

    /// Makes the target a mirror, which the incremental ones build on, with its blocks allocated.
    private func warmUp() throws {
        // A promise about the target is about what it holds before this job.
        let (report, _) = try mirror(.full, "warm-up", options, seed: 0)
        if output.json {
            Events.print(
                Events.TransferWarmUp(written: report.written, seconds: report.seconds))
        } else if !output.quiet {
            let rounds = settings.rounds == 1 ? "1 round" : "median of \(settings.rounds) rounds"
            Output.line(
                "\(source.path) to \(target.path): \(ByteSize.text(size)), granules of "
                    + "\(settings.granularity), seed \(settings.seed), \(rounds)")
            Output.line(
                "a first full mirror to warm up, not counted: "
                    + "\(Seconds.fixed(report.seconds, digits: 3)) s")
            Output.line("")
        }
    }

    private func measure() throws -> TransferResults {
        var later = options
        later.targetIsZero = false
        var results = TransferResults(settings.cases)
        var numbers = SeededNumbers(seed: settings.seed)
        var index = 0
        for round in 1...settings.rounds {
            for step in TransferCase.round(of: settings.cases, numbers: &numbers) {
                let transferCase = settings.cases[step.index]
                index += 1
                let title =
                    "\(index)/\(settings.cases.count * settings.rounds) \(transferCase.title)"
                let (report, dirtyBytes) = try mirror(
                    transferCase, title, later, seed: step.seed)
                results.all[step.index].add(report, dirtyBytes: dirtyBytes)
                if output.json {
                    Events.print(
                        Events.Transfer(
                            transferCase, round: round, dirtyBytes: dirtyBytes, report))
                }
            }
        }
        return results
    }

    /// Runs one job. What happens between two jobs, such as choosing what is dirty, is no part of
    /// the time in the report.
    private func mirror(
        _ transferCase: TransferCase, _ title: String, _ options: MirrorOptions, seed: UInt64
    ) throws -> (report: MirrorReport, dirtyBytes: Int64) {
        let made: (job: MirrorJob, dirtyBytes: Int64)
        do throws(MirrorError) {
            made = try makeJob(transferCase, options, seed: seed)
        } catch {
            throw Complaint(output: output).end(error)
        }
        let words = JobWords(
            activity: "bench transfer", source: source.path.string, target: target.path.string,
            title: title + ":")
        let report = JobRun(job: made.job, words: words, output: output).run()
        guard case .mirrored = report.outcome else {
            Message.say("the benchmark ended at \(title)")
            throw MirrorEnding(sides: sides, bitmap: nil, output: output).tellFailure(report)
        }
        return (report, made.dirtyBytes)
    }

    private func makeJob(
        _ transferCase: TransferCase, _ options: MirrorOptions, seed: UInt64
    ) throws(MirrorError) -> (job: MirrorJob, dirtyBytes: Int64) {
        guard case .incremental(let pattern, let percent) = transferCase else {
            let job = try MirrorJob.full(
                from: source, to: target, options: options, logger: output.logger)
            return (job, size)
        }
        let granularity = settings.granularity
        let granules = Int((size - 1) / granularity.bytes + 1)
        let dirty = pattern.choose(
            DirtyPattern.count(share: percent / 100, of: granules), size: size,
            granularity: granularity, clump: settings.clumpGranules, seed: seed)
        let job = try MirrorJob.incremental(
            from: source, to: target, dirty: dirty, options: options, logger: output.logger)
        return (job, dirty.dirtyBytes)
    }
}
