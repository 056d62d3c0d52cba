import ArgumentParser
import RingMirror

struct TransferCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer",
        abstract: "Measure what an incremental mirror saves over a full one, by the dirty share.",
        usage: "ringmirror bench transfer <source> <target> [<options>]",
        discussion: """
            SOURCE is only read. TARGET IS OVERWRITTEN, with the safety checks of \
            `ringmirror full`.

            Mirrors SOURCE to TARGET again and again: fully, and incrementally with a share of \
            the disk called dirty that goes from 0.1 to 100 percent, in single granules anywhere \
            (random), in clumps (clumped), and in one stretch (sequential). A table shows what \
            that moved and how long it took until it was flushed, and where an incremental mirror \
            begins to take as long as a full one.

            Examples:
              ringmirror bench transfer /dev/nvme0n1 /dev/nvme1n1 --overwrite
              ringmirror bench transfer vm.img /backup/vm.img --create --rounds 5
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @OptionGroup(title: "Main options") var new: NewTargetOptions
    @OptionGroup(title: "Main options") var measuring: TransferOptions
    @OptionGroup(title: "Safety checks") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Tuning") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    private var create: Bool { new.create }

    func validate() throws {
        try targetFormat.rules(create: create, target: target, sourceFormat.files).refusal.refuse()
    }

    func run() throws {
        let complaint = Complaint(output: output)
        let settings = try measuring.settings()
        try MirrorSides.prepare(tuning.mirrorOptions(copying), complaint)
        let source = try MirrorSides.openSource(
            self.source, format: sourceFormat.sourceFormat,
            namedFileOnly: sourceFormat.files.noBacking, tuning.cache, guards, complaint)
        // As long as no target has been made.
        try check(source, settings, complaint)
        let sides = try MirrorSides(
            source, target, targetFormat,
            TargetOptions(
                cache: tuning.cache, create: create, overwrite: guards.overwrite,
                allowLarger: guards.allowLarger, namedFileOnly: sourceFormat.files.noBacking),
            complaint)
        let run = TransferRun(
            sides: sides, settings: settings, options: tuning.mirrorOptions(copying),
            output: output)
        try run.run()
        guard copying.verify != nil else { return }
        let comparison = CompareRun(
            job: CompareJob(
                sides.source, sides.target, isPrefix: true, io: tuning.io), first: sides.source,
            second: sides.target, output: output, event: "verify")
        try comparison.run()
    }

    private func check(
        _ source: Disk, _ settings: TransferSettings, _ complaint: Complaint
    ) throws {
        let size = source.geometry.size
        guard size > 0 else {
            throw complaint.end(
                .invalidOption, "\(source.path) is empty: there is nothing to measure", .usage)
        }
        do {
            _ = try DirtyBitmap.byteCount(size: size, granularity: settings.granularity)
        } catch {
            throw complaint.end(.invalidOption, "\(source.path): \(error)", .usage)
        }
    }
}
