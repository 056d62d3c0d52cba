import ArgumentParser
import RingMirror

struct CommitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "commit",
        abstract: "Write the changes in OVERLAY into its backing file.",
        usage: "ringmirror commit <overlay> [<options>]",
        discussion: """
            Afterwards the backing file reads as OVERLAY does, and OVERLAY is empty and reads the \
            same through it. OTHER OVERLAYS OF THE SAME BACKING FILE ARE WORTHLESS AFTERWARDS.

            If the command is interrupted, OVERLAY still has all it had, and running the command \
            again does the rest. A backing file that is smaller grows.

            Examples:
              ringmirror commit tuesday.qcow2
              ringmirror commit tuesday.qcow2 --keep --dry-run
            """)

    @Argument(help: "The qcow2 image whose changes are written.", completion: .file())
    var overlay: PathArgument

    @OptionGroup(title: "Main options") var main: Main
    @OptionGroup(title: "Main options") var copying: ImageJobOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    struct Main: ParsableArguments {
        @Flag(help: "Leave OVERLAY as it is, and don't empty it.")
        var keep = false
    }

    private var keep: Bool { main.keep }

    func run() throws {
        if copying.dryRun {
            return try ImageDryRun(command: "commit", overlay: overlay, output: output)
                .commit(keep: keep)
        }
        let complaint = Complaint(output: output)
        Signals.enter(.making("opening \(overlay)"))
        let job: ImageJob
        do throws(MirrorError) {
            try MirrorJob.check(copying.io)
            job = try CommitJob.open(
                overlay.path, keepsOverlay: keep, options: copying.mirrorOptions,
                logger: output.logger)
        } catch {
            throw complaint.end(error)
        }
        try ImageJobRun(job: job, verb: "committed", output: output).run()
        guard !output.quiet && !output.json else { return }
        Output.line(
            "\(job.target.path) has what \(overlay) had"
                + (keep ? "" : ", which is empty now"))
    }
}
