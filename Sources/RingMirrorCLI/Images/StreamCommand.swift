import ArgumentParser
import RingMirror

struct StreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Copy into OVERLAY what it takes from its backing files, until it needs none.",
        usage: "ringmirror stream <overlay> [<options>]",
        discussion: """
            OVERLAY reads the same at every moment, also if the command is interrupted or the \
            machine fails: running the command again continues. The backing files are only read.

            Only when all is copied and flushed is OVERLAY's link to its backing file removed, or \
            set to the --base. An image with snapshots inside is refused.

            Examples:
              ringmirror stream tuesday.qcow2
              ringmirror stream tuesday.qcow2 --base base.qcow2    (keeps base.qcow2 only)
            """)

    @Argument(help: "The qcow2 image that is to need no backing file.", completion: .file())
    var overlay: PathArgument

    @OptionGroup(title: "Main options") var main: Main
    @OptionGroup(title: "Main options") var copying: ImageJobOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    struct Main: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "The backing file that OVERLAY keeps (default: none).", valueName: "image"),
            completion: .file())
        var base: PathArgument?
    }

    private var base: PathArgument? { main.base }

    func run() throws {
        if copying.dryRun {
            return try ImageDryRun(command: "stream", overlay: overlay, output: output)
                .stream(base: base)
        }
        let complaint = Complaint(output: output)
        Signals.enter(.making("opening \(overlay)"))
        let job: ImageJob
        do throws(MirrorError) {
            try MirrorJob.check(copying.io)
            job = try StreamJob.open(
                overlay.path, base: base?.path,
                options: copying.mirrorOptions, logger: output.logger)
        } catch {
            throw complaint.end(error)
        }
        try ImageJobRun(job: job, verb: "streamed", output: output).run()
        guard !output.quiet && !output.json else { return }
        Output.line(
            base.map { "\(overlay) keeps \($0) as its backing file" }
                ?? "\(overlay) needs no backing file any more")
    }
}
