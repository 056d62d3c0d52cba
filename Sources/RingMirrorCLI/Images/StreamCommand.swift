import ArgumentParser
import RingMirror

struct StreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Copy into OVERLAY what it takes from its backing files, until it needs none.",
        discussion: """
            OVERLAY reads the same at every moment, also if the command is interrupted or the \
            machine fails: what was copied by then stays copied, and running the command again \
            continues. Only when all is copied and flushed does OVERLAY let go of its backing \
            file. The backing files are only read.

            Examples:
              ringmirror stream tuesday.qcow2
              ringmirror stream tuesday.qcow2 --base base.qcow2    keep base.qcow2 below it
            """)

    @Argument(help: "The qcow2 image that is to need no backing file.", completion: .file())
    var overlay: PathArgument

    @Option(help: "The backing file that OVERLAY keeps.", completion: .file())
    var base: PathArgument?

    @OptionGroup(title: "Copying") var copying: ImageJobOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    func run() throws {
        if copying.dryRun {
            return try ImageDryRun(command: "stream", overlay: overlay, output: output)
                .stream(base: base)
        }
        let complaint = Complaint(output: output)
        Signals.enter(.making("opening \(overlay)"))
        let job: StreamJob
        do throws(MirrorError) {
            try MirrorJob.check(copying.io)
            job = try StreamJob.open(
                overlay.path, base: base?.path,
                options: copying.mirrorOptions, logger: output.logger)
        } catch {
            throw complaint.end(error)
        }
        try ImageJobRun(
            command: "stream", verb: "streamed", source: job.source, target: job.target,
            job: job.job, output: output
        ).run { job.runAndWait() }
        guard !output.quiet && !output.json else { return }
        Output.line(
            base.map { "\(overlay) keeps \($0) as its backing file" }
                ?? "\(overlay) needs no backing file any more")
    }
}
