import ArgumentParser
import RingMirror

struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Make TARGET read as OVERLAY does where OVERLAY itself has something.",
        discussion: """
            OVERLAY is a qcow2 image. What it has allocated is copied, zeros that it has written \
            included; what it takes from the images below it is not, and stays on TARGET as it \
            is. TARGET has to hold what is below, or to stand on it.

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

    @Option(
        help: ArgumentHelp(
            "Copy what all images above this one have, and not the first alone.",
            discussion: "It is named as `info` shows it, or by its path."), completion: .file())
    var base: PathArgument?

    @Flag(help: "Make TARGET as a new qcow2 image, which needs --backing. It must not exist.")
    var create = false

    @OptionGroup(title: "Formats") var format: TargetFormatOptions
    @OptionGroup(title: "Guards") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Recording") var recording: RecordOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    func validate() throws {
        try recording.validate(bitmap: nil)
        try format.validate(create: create, target: target)
        if create && format.backing == nil {
            throw ValidationError(
                "a new TARGET has nothing of what is below OVERLAY: say on what it stands with "
                    + "--backing, or use `full`")
        }
        try recording.validate(create: create)
        if copying.targetIsZero {
            throw ValidationError(
                "--target-is-zero can't be: the target of a top mirror holds what is below")
        }
    }

    func run() throws {
        let complaint = Complaint(output: output)
        try MirrorSides.prepare(copying, complaint)
        let source = try MirrorSides.openSource(
            overlay, format: .qcow2, copying, guards, complaint)
        let records = RecordedMirror.RecordPlace.path(recording.store.path(for: source))
        let sides = try MirrorSides(
            source, target, format,
            TargetOptions(
                cache: copying.cache, create: create,
                overwrite: guards.overwrite || recording.resume, holdsMirror: true,
                allowLarger: guards.allowLarger),
            output: output, complaint)
        var request = recording.request(.top, bitmap: nil, copying)
        request.remembersPlan = copying.verify == .verify
        request.base = base?.path
        let mirror = try sides.begin(complaint) { () throws(MirrorError) in
            recording.resume
                ? try .resume(
                    from: source, to: sides.target, request: request, records: records,
                    logger: output.logger)
                : try RecordedMirror.top(
                    from: source, to: sides.target, request: request, records: records,
                    logger: output.logger)
        }
        let run = MirrorRun(
            command: "top", mirror: mirror, sides: sides, bitmap: nil,
            leaveOut: create ? "--create" : nil, output: output)
        try run.run()
        if let extent = copying.verify { try run.verify(extent) }
    }
}
