import ArgumentParser
import RingMirror

struct FullCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "full",
        abstract: "Make TARGET read exactly as SOURCE does.",
        discussion: """
            SOURCE and TARGET are disks, partitions or image files, raw or qcow2. They must have \
            the same size. Of a qcow2 SOURCE all is copied that it shows, with what is below it. \
            Holes of the source become zeros on the target, whatever it held before. The job has \
            succeeded only when the target has been flushed to stable storage.

            Nothing is written before every guard has passed: a target that is mounted, swapped \
            on, held by LVM, RAID or a loop device, opened by another process, or that is a part \
            of the source is refused, and there is no option to override that. A target with a \
            file system, a partition table or other data on it needs --overwrite.

            Examples:
              ringmirror full /dev/nvme0n1 /dev/nvme1n1 --overwrite --verify
              ringmirror full vm.img /backup/vm.img --create
              ringmirror full vm.qcow2 /backup/vm.qcow2 --create
              ringmirror full /dev/sda disk.img --create --on-source-error ignore --speed 200M

            A first Ctrl-C stops cleanly: what is in flight is finished and flushed, and the \
            progress is recorded. The target is not a mirror then; --resume goes on with it.
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @Flag(help: "Make TARGET as a new image file. It must not exist.")
    var create = false

    @Option(
        help: ArgumentHelp(
            "A bitmap of SOURCE that the mirror clears when it has succeeded.",
            discussion: "From then on the bitmap tells what TARGET lacks: see incremental."))
    var bitmap: String?

    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Guards") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Recording") var recording: RecordOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    func validate() throws {
        try recording.validate(bitmap: bitmap)
        try targetFormat.validate(create: create, target: target)
        if recording.bitmapMode == .never {
            throw ValidationError(
                "a full mirror does nothing with a bitmap whose mode is never: leave --bitmap out")
        }
        try recording.validate(create: create)
    }

    func run() throws {
        let complaint = Complaint(output: output)
        try MirrorSides.prepare(copying, complaint)
        let source = try MirrorSides.openSource(
            self.source, format: sourceFormat.sourceFormat,
            namedFileOnly: sourceFormat.files.noBacking,
            changesBitmaps: !recording.dryRun && recording.changesImage(bitmap), copying, guards,
            complaint)
        if let bitmap { _ = try recording.store.bitmap(bitmap, of: source, complaint) }
        let resuming = try recording.resumes(
            .full, bitmap: bitmap, from: source, to: target, complaint)
        let creates = !resuming && recording.creates(create, target)
        let records = recording.store.path(for: source)
        var request = recording.request(.full, bitmap: bitmap, copying)
        request.allowSourceInUse = guards.allowSourceInUse
        // All was copied, whichever part was asked for.
        if copying.verify != nil { request.verification = .all }
        // What is resumed is known by its record, which is checked before the first write.
        let options = TargetOptions(
            cache: copying.cache, create: creates, overwrite: guards.overwrite || resuming,
            allowLarger: guards.allowLarger)
        if recording.dryRun {
            var dryRun = DryRun("full", source, target, create: creates, output, complaint)
            let target = try dryRun.openTarget(
                targetFormat, options, mayOverwrite: guards.overwrite && !resuming)
            let plan = try target.map { target in
                try dryRun.plan(records) { (records) throws(MirrorError) in
                    try begin(source, target, request, records, resuming: resuming)
                }
            }
            return dryRun.tell(
                try complaint.perform { () throws(MirrorError) in
                    guard let plan else { return try .full(of: source) }
                    return plan
                })
        }
        let sides = try MirrorSides(
            source, target, targetFormat, options, complaint)
        let mirror = try sides.begin(complaint) { () throws(MirrorError) in
            try begin(source, sides.target, request, .path(records), resuming: resuming)
        }
        let run = MirrorRun(
            command: "full", mirror: mirror, sides: sides, bitmap: bitmap,
            leaveOut: creates ? "--create" : nil,
            resumesItself: recording.resumeAuto, output: output)
        try run.run()
    }

    private func begin(
        _ source: Disk, _ target: Disk, _ request: RecordedMirror.Request,
        _ records: RecordedMirror.RecordPlace, resuming: Bool
    ) throws(MirrorError) -> RecordedMirror {
        try recording.begin(
            resuming: resuming, mayOverwrite: guards.overwrite, source, target, output
        ) { () throws(MirrorError) in
            try .resume(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        } anew: { () throws(MirrorError) in
            try .full(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        }
    }
}
