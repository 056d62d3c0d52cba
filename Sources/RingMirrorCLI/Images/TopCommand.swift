import ArgumentParser
import RingMirror

struct TopCommand: MirrorCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Copy only what a qcow2 image itself holds, not its backing files.",
        usage: "ringmirror top <overlay> <target> [<options>]",
        discussion: """
            OVERLAY is a qcow2 image. What it has allocated is copied, zeros that were written \
            included; what it takes from its backing files is not, and stays on TARGET as it is. \
            TARGET has to hold a mirror of the backing file, or to have one as its own.

            Examples:
              ringmirror top monday.qcow2 /dev/vg/backup
              ringmirror top wednesday.qcow2 backup.img --base monday.qcow2
              ringmirror top vm.qcow2 new.qcow2 --create --backing backup.qcow2 \\
                --backing-format qcow2
            """)

    @Argument(help: "The qcow2 image to read.", completion: .file())
    var overlay: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @OptionGroup(title: "Main options") var main: Main
    @OptionGroup(title: "Safety checks") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Resuming and records") var recording: RecordOptions
    @OptionGroup(title: "Formats") var files: NamedFileOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Tuning") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    struct Main: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Copy what all images above this one hold (default: OVERLAY alone).",
                discussion: "It is named as `info` shows it, or by its path.", valueName: "image"),
            completion: .file())
        var base: PathArgument?

        @Flag(help: "Make TARGET as a new qcow2 image, which needs --backing. It must not exist.")
        var create = false
    }

    static let mode = JobMode.top

    private var base: PathArgument? { main.base }
    var sourcePath: PathArgument { overlay }
    var knownSourceFormat: ImageFormat? { .qcow2 }
    var create: Bool { main.create }
    var bitmapChoice: BitmapChoice? { nil }

    func validate() throws { try rules.refusal.refuse() }

    func run() throws { try mirror() }

    func basis(of source: Disk, _ complaint: Complaint) -> MirrorBasis { MirrorBasis() }

    func complete(_ request: inout RecordedMirror.Request) { request.base = base?.path }

    func begin(
        _ source: Disk, _ target: Disk, _ basis: MirrorBasis, _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) -> RecordedMirror {
        try .top(
            from: source, to: target, request: request, records: records, logger: output.logger)
    }

    func measure(
        _ dryRun: DryRun, _ basis: MirrorBasis, _ complaint: Complaint
    ) throws -> Measurement {
        try complaint.perform { () throws(MirrorError) in
            try .top(
                of: dryRun.source, base: base?.path, target: dryRun.newImage,
                zeroes: tuning.zeroes)
        }
    }
}
