import ArgumentParser
import RingMirror

struct FullCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "full",
        abstract: "Make TARGET an exact copy of SOURCE.",
        usage: "ringmirror full <source> <target> [<options>]",
        discussion: """
            SOURCE and TARGET are disks, partitions or image files (raw or qcow2) of the same \
            size. Exit code 0 means that all was copied and flushed to stable storage, that no \
            write to SOURCE shows meanwhile, and that TARGET still has its path and size. Nothing \
            tells a write of something else to TARGET meanwhile; --verify=all compares everything.

            All that a qcow2 SOURCE shows is copied, its backing files included. Holes of SOURCE \
            become zeros on TARGET, whatever it held before.

            Nothing is written before every safety check has passed: a target that is mounted, \
            swapped on, held by LVM, RAID or a loop device, opened by another process, or that is \
            a part of the source is refused, and no option overrides that. A target with a file \
            system, a partition table or other data on it needs --overwrite.

            A first Ctrl-C stops cleanly: what is in flight is finished and flushed, and the \
            progress is recorded. The target is not a mirror then; --resume continues.

            Examples:
              ringmirror full /dev/nvme0n1 /dev/nvme1n1 --overwrite --verify
              ringmirror full vm.img /backup/vm.img --create
              ringmirror full vm.qcow2 /backup/vm.qcow2 --create --bitmap nightly
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @OptionGroup(title: "Main options") var new: NewTargetOptions
    @OptionGroup(title: "Main options") var choice: BitmapChoice
    @OptionGroup(title: "Safety checks") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Resuming and records") var recording: RecordOptions
    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Tuning") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    private var create: Bool { new.create }
    private var bitmap: String? { choice.name }

    func validate() throws {
        try targetFormat.validate(create: create, target: target, sourceFormat.files)
        if choice.mode == .never {
            throw ValidationError(
                "a full mirror does nothing with a bitmap whose mode is never: leave --bitmap out")
        }
        try recording.validate(create: create)
    }

    func run() throws {
        let complaint = Complaint(output: output)
        try MirrorSides.prepare(tuning.mirrorOptions(copying), complaint)
        let source = try MirrorSides.openSource(
            self.source, format: sourceFormat.sourceFormat,
            namedFileOnly: sourceFormat.files.noBacking,
            changesBitmaps: choice.changesImage(recording.store),
            tuning.cache, guards, complaint)
        try recording.store.check(for: source, target, complaint)
        if let bitmap { _ = try recording.store.bitmap(bitmap, of: source, complaint) }
        let resuming = try recording.resumes(
            .full, bitmap: bitmap, from: source, to: target, complaint)
        let creates = !resuming && recording.creates(create, target)
        let records = recording.store.path(for: source)
        var request = recording.request(.full, choice, copying, tuning)
        request.allowSourceInUse = guards.allowSourceInUse
        // All was copied, whichever part was asked for.
        if copying.verify != nil { request.verification = .all }
        // What is resumed is known by its record, which is checked before the first write.
        let options = TargetOptions(
            cache: tuning.cache, create: creates, overwrite: guards.overwrite || resuming,
            allowLarger: guards.allowLarger,
            namedFileOnly: sourceFormat.files.noBacking)
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
                    guard let plan else {
                        return try .full(
                            of: source, target: dryRun.newImage, zeroes: tuning.zeroes)
                    }
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
