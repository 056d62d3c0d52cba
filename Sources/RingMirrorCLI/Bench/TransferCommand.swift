import ArgumentParser
import RingMirror

struct TransferCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transfer",
        abstract: "Measure what an incremental mirror saves over a full one, by the dirty share.",
        discussion: """
            Mirrors SOURCE to TARGET again and again: fully, and incrementally with a share of \
            the disk called dirty that goes from 0.1 to 100 percent, in single granules anywhere \
            (random), in clumps (clumped), and in one stretch (sequential). A table shows what \
            that moved and how long it took until it was flushed, and where an incremental mirror \
            begins to take as long as a full one.

            SOURCE is only read. TARGET IS OVERWRITTEN, under the same guards as with \
            ringmirror full, and is a mirror of SOURCE at the end.

            Examples:
              ringmirror bench transfer /dev/nvme0n1 /dev/nvme1n1 --overwrite
              ringmirror bench transfer vm.img /backup/vm.img --create --rounds 5
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @Flag(help: "Make TARGET as a new image file. It must not exist.")
    var create = false

    @OptionGroup(title: "Measuring") var measuring: TransferOptions
    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Guards") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    func validate() throws { try targetFormat.validate(create: create, target: target) }

    func run() throws {
        let complaint = Complaint(output: output)
        let settings = try measuring.settings()
        try MirrorSides.prepare(copying, complaint)
        let source = try MirrorSides.openSource(
            self.source, format: sourceFormat.sourceFormat,
            namedFileOnly: sourceFormat.files.noBacking, copying, guards, complaint)
        // As long as no target has been made.
        try check(source, settings, complaint)
        let sides = try MirrorSides(
            source, target, targetFormat,
            TargetOptions(
                cache: copying.cache, create: create, overwrite: guards.overwrite,
                allowLarger: guards.allowLarger),
            complaint)
        let run = TransferRun(
            sides: sides, settings: settings, options: copying.mirrorOptions, output: output)
        try run.run()
        guard copying.verify != nil else { return }
        let comparison = CompareRun(
            job: CompareJob(
                sides.source, sides.target, isPrefix: true, io: copying.io), first: sides.source,
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
