import ArgumentParser
import RingMirror

struct TopCommand: ParsableCommand {
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
    @OptionGroup(title: "Formats") var format: TargetFormatOptions
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

    private var base: PathArgument? { main.base }
    private var create: Bool { main.create }

    func validate() throws {
        try format.validate(create: create, target: target, files)
        if create && format.backing == nil {
            throw ValidationError(
                "a new TARGET has nothing of what is below OVERLAY: say on what it stands with "
                    + "--backing, or use `full`")
        }
        try recording.validate(create: create)
        if tuning.targetIsZero {
            throw ValidationError(
                "--target-is-zero can't be: the target of a top mirror holds what is below")
        }
    }

    func run() throws {
        let complaint = Complaint(output: output)
        try MirrorSides.prepare(tuning.mirrorOptions(copying), complaint)
        let source = try MirrorSides.openSource(
            overlay, format: .qcow2, namedFileOnly: files.noBacking, tuning.cache, guards,
            complaint)
        try recording.store.check(for: source, target, complaint)
        let resuming = try recording.resumes(
            .top, bitmap: nil, from: source, to: target, complaint)
        let creates = !resuming && recording.creates(create, target)
        let records = recording.store.path(for: source)
        var request = recording.request(.top, nil, copying, tuning)
        request.allowSourceInUse = guards.allowSourceInUse
        request.base = base?.path
        let options = TargetOptions(
            cache: tuning.cache, create: creates, overwrite: guards.overwrite || resuming,
            holdsMirror: true, allowLarger: guards.allowLarger,
            namedFileOnly: files.noBacking)
        if recording.dryRun {
            var dryRun = DryRun("top", source, target, create: creates, output, complaint)
            let target = try dryRun.openTarget(
                format, options, mayOverwrite: guards.overwrite && !resuming)
            let plan = try target.map { target in
                try dryRun.plan(records) { (records) throws(MirrorError) in
                    try begin(source, target, request, records, resuming: resuming)
                }
            }
            return dryRun.tell(
                try complaint.perform { () throws(MirrorError) in
                    guard let plan else {
                        return try .top(
                            of: source, base: base?.path, target: dryRun.newImage,
                            zeroes: tuning.zeroes)
                    }
                    return plan
                })
        }
        let sides = try MirrorSides(source, target, format, options, complaint)
        let mirror = try sides.begin(complaint) { () throws(MirrorError) in
            try begin(source, sides.target, request, .path(records), resuming: resuming)
        }
        let run = MirrorRun(
            command: "top", mirror: mirror, sides: sides, bitmap: nil,
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
            try .top(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        }
    }
}
