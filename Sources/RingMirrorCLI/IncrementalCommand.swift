import ArgumentParser
import RingMirror

struct IncrementalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "incremental",
        abstract: "Copy from SOURCE to TARGET only what has changed.",
        usage: """
            ringmirror incremental <source> <target> --bitmap <name> [<options>]
            ringmirror incremental <source> <target> --map <file> [<options>]
            """,
        discussion: """
            A bitmap, or another tool's change map, says what has changed; nothing else is read or \
            written. TARGET has to hold an earlier mirror of SOURCE. A success clears the bitmap; \
            after a failure the bitmap is as if the job had never run.

            The result is as good as the bitmap: something has to mark what is written to SOURCE \
            (`bitmap mark`, `bitmap import`, QEMU). Where nothing does, `bitmap diff` finds what \
            differs by comparing. A write that was not marked is noticed by the times of files, \
            the write counters of disks and a sample, and is refused then; --verify=all compares \
            everything.

            One bitmap serves any number of targets: the file of bitmaps keeps what each of them \
            lacks. Of a qcow2 SOURCE a bitmap inside the image is taken first, and cleared there.

            Examples:
              ringmirror incremental vm.img /backup/vm.img --bitmap nightly --verify
              ringmirror incremental /dev/vg/thin /dev/sdb --map delta.xml
              ringmirror incremental vm.qcow2 mon.qcow2 --bitmap nightly --create \\
                --backing sun.qcow2 --backing-format qcow2
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(
        help: "The disk or image to write, which holds an earlier mirror.", completion: .file())
    var target: PathArgument

    @OptionGroup(title: "Main options") var choice: BitmapChoice
    @OptionGroup(title: "Main options") var main: Main
    @OptionGroup(title: "Safety checks") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Resuming and records") var recording: RecordOptions
    @OptionGroup(title: "Reading the map") var mapping: MapOptions
    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Tuning") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    struct Main: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Another tool's list of changes, as FILE or FILE:FORMAT; - is standard input.",
                discussion: """
                    Such as of thin_delta, era_invalidate, QEMU, rbd or ddrescue. Without FORMAT \
                    the content decides; an unknown FORMAT lists all.
                    """, valueName: "file"))
        var map: MapArgument?

        @Flag(
            help: ArgumentHelp(
                "Take a TARGET that the bitmap does not know.",
                discussion: """
                    You promise that it holds the mirror that the bitmap goes on from. A sample is \
                    compared all the same.
                    """))
        var newTarget = false

        @Flag(help: "Make TARGET as a new qcow2 image, which needs --backing. It must not exist.")
        var create = false
    }

    private var bitmap: String? { choice.name }
    private var map: MapArgument? { main.map }
    private var create: Bool { main.create }
    private var newTarget: Bool { main.newTarget }

    func validate() throws {
        if (bitmap == nil) == (map == nil) && !(map == nil && recording.resume) {
            throw ValidationError("say what is dirty: --bitmap NAME or --map FILE, one of them")
        }
        try targetFormat.validate(create: create, target: target, sourceFormat.files)
        if create && targetFormat.backing == nil {
            throw ValidationError(
                "a new TARGET holds no mirror yet: say on which one it stands with --backing, or "
                    + "use `full`")
        }
        try recording.validate(create: create)
        if map != nil && recording.resume {
            throw ValidationError("--resume knows what is left: leave --map out")
        }
        if map != nil && recording.resumeAuto {
            throw ValidationError(
                "--resume=auto can't tell whether the interrupted mirror was by this map: run "
                    + "--resume without --map, or leave --resume=auto out")
        }
        if tuning.targetIsZero {
            throw ValidationError(
                "--target-is-zero can't be: the target of an incremental mirror holds a mirror")
        }
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
        let records = recording.store.path(for: source)
        let resuming = try recording.resumes(
            .incremental, bitmap: bitmap, from: source, to: target, complaint)
        let creates = !resuming && recording.creates(create, target)
        let dirty = try map.map {
            try mapping.read($0, deviceSize: source.geometry.size, output, complaint)
        }
        // A target that is known by the store is checked against it before the first write.
        let hasSucceeded =
            try bitmap.map {
                try recording.store.bitmap($0, of: source, complaint).lastSuccess != nil
            } ?? false
        let reference = try complaint.perform { () throws(MirrorError) in
            try bitmap.map { (name) throws(MirrorError) in
                try recording.store.reference(to: name, of: source)
            }
        }
        let isInImage = if case .image = reference { true } else { false }
        // What is on the target of a bitmap in an image is compared before it is written.
        let isKnown = resuming || newTarget || hasSucceeded || isInImage
        let options = TargetOptions(
            cache: tuning.cache, create: creates, overwrite: guards.overwrite || isKnown,
            holdsMirror: true, allowLarger: guards.allowLarger,
            namedFileOnly: sourceFormat.files.noBacking)
        if recording.dryRun {
            var dryRun = DryRun("incremental", source, target, create: creates, output, complaint)
            let target = try dryRun.openTarget(
                targetFormat, options, mayOverwrite: guards.overwrite && !isKnown)
            let plan = try target.map { target in
                try dryRun.plan(records) { (records) throws(MirrorError) in
                    try begin(source, target, dirty, records, resuming: resuming)
                }
            }
            if target == nil, bitmap != nil, let image = dryRun.newImage,
                let base = try dryRun.openBacking(image, namedFileOnly: options.namedFileOnly)
            {
                return dryRun.tell(
                    try dryRun.plan(records, overlayOf: base, request, tuning.zeroes))
            }
            return dryRun.tell(
                try plan ?? measure(source, dirty, dryRun.newImage, complaint))
        }
        let sides = try MirrorSides(
            source, target, targetFormat, options, complaint)
        let mirror = try sides.begin(complaint) { () throws(MirrorError) in
            try begin(
                source, sides.target, dirty, .path(records), resuming: resuming)
        }
        let run = MirrorRun(
            command: "incremental", mirror: mirror, sides: sides, bitmap: bitmap,
            leaveOut: creates ? "--create" : map == nil ? nil : "--map",
            resumesItself: recording.resumeAuto, output: output)
        try run.run()
    }

    /// What would be copied to a target that is not there yet.
    private func measure(
        _ source: Disk, _ map: ChangeMap?, _ image: NewImageOptions?, _ complaint: Complaint
    ) throws -> Measurement {
        try complaint.perform { () throws(MirrorError) in
            guard let map else {
                return try .incremental(
                    of: source, dirty: try recording.store.bits(bitmap ?? "", of: source),
                    target: image, zeroes: tuning.zeroes)
            }
            return try .incremental(
                of: source, dirty: bits(of: map, source), target: image, zeroes: tuning.zeroes)
        }
    }

    private func bits(of map: ChangeMap, _ source: Disk) -> DirtyBitmap {
        let size = source.geometry.size
        var dirty = DirtyBitmap(
            size: size, granularity: Granularity(forSize: size, atLeast: map.exactGranularity))
        map.mark(in: &dirty)
        return dirty
    }

    private var request: RecordedMirror.Request {
        var request = recording.request(.incremental, choice, copying, tuning)
        request.allowNewTarget = newTarget
        request.allowSourceInUse = guards.allowSourceInUse
        return request
    }

    private func begin(
        _ source: Disk, _ target: Disk, _ map: ChangeMap?,
        _ records: RecordedMirror.RecordPlace, resuming: Bool
    ) throws(MirrorError) -> RecordedMirror {
        let request = request
        return try recording.begin(
            resuming: resuming, mayOverwrite: guards.overwrite, source, target, output
        ) { () throws(MirrorError) in
            try .resume(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        } anew: { () throws(MirrorError) in
            guard let map else {
                return try .incremental(
                    from: source, to: target, request: request, records: records,
                    logger: output.logger)
            }
            return try .incremental(
                from: source, to: target, dirty: bits(of: map, source), request: request,
                records: records, logger: output.logger)
        }
    }
}
