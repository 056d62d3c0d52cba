import ArgumentParser
import RingMirror

struct IncrementalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "incremental",
        abstract: "Make TARGET read as SOURCE does where a bitmap or a change map says so.",
        discussion: """
            TARGET has to hold the mirror that the bitmap goes on from. Nothing but what is dirty \
            is read or written. When the job has succeeded and TARGET is flushed, the bitmap is \
            cleared; when it fails, the bitmap is as if the job had never run.

            Of a qcow2 SOURCE a bitmap inside the image is taken first, and cleared there.

            Examples:
              ringmirror bitmap add vm.img nightly
              ringmirror full vm.img /backup/vm.img --create --bitmap nightly
              ringmirror bitmap mark vm.img nightly 1M+64K
              ringmirror incremental vm.img /backup/vm.img --bitmap nightly
              ringmirror incremental /dev/vg/thin /dev/sdb --map delta.xml
              ringmirror incremental vm.qcow2 monday.qcow2 --bitmap nightly --create \\
                --backing sunday.qcow2 --backing-format qcow2
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(
        help: "The disk or image to write, which holds an earlier mirror.", completion: .file())
    var target: PathArgument

    @Option(help: "The bitmap of SOURCE that says what is dirty.")
    var bitmap: String?

    @Option(
        help: ArgumentHelp(
            "A change map of another tool that says what is dirty, as FILE or FILE:FORMAT.",
            discussion: "The formats are in docs/change-maps.md; without one the content decides."))
    var map: MapArgument?

    @Flag(
        help: """
            Take a TARGET that the bitmap's last success did not write: you know that it holds the \
            mirror that the bitmap goes on from.
            """)
    var newTarget = false

    @Flag(help: "Make TARGET as a new qcow2 image, which needs --backing. It must not exist.")
    var create = false

    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Reading the map") var mapping: MapOptions
    @OptionGroup(title: "Guards") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Recording") var recording: RecordOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    func validate() throws {
        try recording.validate(bitmap: bitmap)
        if (bitmap == nil) == (map == nil) && !(map == nil && recording.resume) {
            throw ValidationError("say what is dirty: --bitmap NAME or --map FILE, one of them")
        }
        try targetFormat.validate(create: create, target: target)
        if create && targetFormat.backing == nil {
            throw ValidationError(
                "a new TARGET holds no mirror yet: say on which one it stands with --backing, or "
                    + "use `full`")
        }
        try recording.validate(create: create)
        if map != nil && recording.resume {
            throw ValidationError("--resume knows what is left: leave --map out")
        }
        if copying.targetIsZero {
            throw ValidationError(
                "--target-is-zero can't be: the target of an incremental mirror holds a mirror")
        }
    }

    func run() throws {
        let complaint = Complaint(output: output)
        try MirrorSides.prepare(copying, complaint)
        let source = try MirrorSides.openSource(
            self.source, format: sourceFormat.sourceFormat,
            changesBitmaps: recording.changesImage(bitmap), copying, guards, complaint)
        let path = recording.store.path(for: source)
        let dirty = try map.map {
            try mapping.read($0, deviceSize: source.geometry.size, output, complaint)
        }
        // A target that is known by the store is checked against it before the first write.
        let hasSucceeded =
            try bitmap.map {
                try recording.store.bitmap($0, of: source, complaint).lastSuccess != nil
            } ?? false
        let isInImage = recording.store.isInImage(bitmap, of: source)
        // A bitmap in an image knows no target: what is on this one is compared instead.
        let isKnown = recording.resume || newTarget || hasSucceeded || isInImage
        let sides = try MirrorSides(
            source, target, targetFormat,
            TargetOptions(
                cache: copying.cache, create: create, overwrite: guards.overwrite || isKnown,
                holdsMirror: true,
                allowLarger: guards.allowLarger),
            output: output, complaint)
        let mirror = try sides.begin(complaint) { () throws(MirrorError) in
            try begin(sides.source, sides.target, dirty, .path(path))
        }
        let run = MirrorRun(
            command: "incremental", mirror: mirror, sides: sides, bitmap: bitmap,
            leaveOut: create ? "--create" : map == nil ? nil : "--map", output: output)
        try run.run()
        if let extent = copying.verify { try run.verify(extent) }
    }

    private func begin(
        _ source: Disk, _ target: Disk, _ map: ChangeMap?,
        _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) -> RecordedMirror {
        var request = recording.request(.incremental, bitmap: bitmap, copying)
        // A new image has what it stands on, which whoever named it knows to be the mirror.
        request.allowNewTarget =
            newTarget || (create && !recording.store.isInImage(bitmap, of: source))
        request.remembersPlan = copying.verify == .verify
        if recording.resume {
            return try .resume(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        }
        guard let map else {
            return try .incremental(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        }
        var dirty = DirtyBitmap(size: source.geometry.size, granularity: map.exactGranularity)
        map.mark(in: &dirty)
        return try .incremental(
            from: source, to: target, dirty: dirty, request: request, records: records,
            logger: output.logger)
    }
}
