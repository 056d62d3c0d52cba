import ArgumentParser
import RingMirror

struct StreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Copy into OVERLAY what it takes from the images below, until it needs them no "
            + "more.",
        discussion: """
            OVERLAY reads the same at every moment, also if the command is interrupted or the \
            machine fails: what was copied by then stays copied, and running the command again \
            goes on. Only when all is copied and flushed, OVERLAY lets go of its backing file. The \
            images below are only read.

            Examples:
              ringmirror stream tuesday.qcow2
              ringmirror stream tuesday.qcow2 --base base.qcow2    stand on base.qcow2 alone
            """)

    @Argument(help: "The qcow2 image that is to stand on its own.", completion: .file())
    var overlay: PathArgument

    @Option(help: "The image below that OVERLAY goes on to stand on.", completion: .file())
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
            try MirrorJob.checkRing()
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
            base.map { "\(overlay) stands on \($0)" } ?? "\(overlay) stands on its own")
    }
}
