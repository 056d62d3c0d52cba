import ArgumentParser
import RingMirror

struct IncrementalCommand: MirrorCommand {
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

    static let mode = JobMode.incremental

    private var map: MapArgument? { main.map }
    var sourcePath: PathArgument { source }
    var knownSourceFormat: ImageFormat? { sourceFormat.sourceFormat }
    var create: Bool { main.create }
    var bitmapChoice: BitmapChoice? { choice }
    var files: NamedFileOptions { sourceFormat.files }

    func validate() throws {
        var rules = rules
        rules.hasMap = map != nil
        rules.hasMapOptions = mapping.isAsked
        try rules.refusal.refuse()
    }

    func run() throws { try mirror() }

    func basis(of source: Disk, _ complaint: Complaint) throws -> MirrorBasis {
        let dirty = try map.map {
            try mapping.read($0, deviceSize: source.geometry.size, output, complaint)
        }
        var basis = MirrorBasis(map: dirty, isKnown: main.newTarget)
        guard let bitmap else { return basis }
        // A target that is known by the store is checked against it before the first write.
        let facts = try recording.store.bitmap(bitmap, of: source, complaint)
        let reference = try complaint.perform { () throws(MirrorError) in
            try recording.store.reference(to: bitmap, of: source)
        }
        // What is on the target of a bitmap in an image is compared before it is written.
        if case .image = reference { basis.isKnown = true }
        if facts.lastSuccess != nil { basis.isKnown = true }
        return basis
    }

    func complete(_ request: inout RecordedMirror.Request) {
        request.allowNewTarget = main.newTarget
    }

    func begin(
        _ source: Disk, _ target: Disk, _ basis: MirrorBasis, _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) -> RecordedMirror {
        guard let map = basis.map else {
            return try .incremental(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        }
        return try .incremental(
            from: source, to: target, dirty: bits(of: map, source), request: request,
            records: records, logger: output.logger)
    }

    func measure(
        _ dryRun: DryRun, _ basis: MirrorBasis, _ complaint: Complaint
    ) throws -> Measurement {
        let source = dryRun.source
        if bitmap != nil, let image = dryRun.newImage,
            let base = try dryRun.openBacking(image, namedFileOnly: files.noBacking)
        {
            return try dryRun.plan(
                recording.store.path(for: source), overlayOf: base, request, tuning.zeroes)
        }
        return try complaint.perform { () throws(MirrorError) in
            let dirty =
                if let map = basis.map {
                    bits(of: map, source)
                } else {
                    try recording.store.bits(bitmap ?? "", of: source)
                }
            return try .incremental(
                of: source, dirty: dirty, target: dryRun.newImage, zeroes: tuning.zeroes)
        }
    }

    private func bits(of map: ChangeMap, _ source: Disk) -> DirtyBitmap {
        let size = source.geometry.size
        var dirty = DirtyBitmap(
            size: size, granularity: Granularity(forSize: size, atLeast: map.exactGranularity))
        map.mark(in: &dirty)
        return dirty
    }
}
