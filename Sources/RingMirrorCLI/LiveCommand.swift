import ArgumentParser
import RingMirror

struct LiveCommand: MirrorCommand {
    static let configuration = CommandConfiguration(
        commandName: "live",
        abstract: "Copy a disk that is in use, mounted or not, as it is at one moment.",
        usage: "ringmirror live <source> <target> [<options>]",
        discussion: """
            SOURCE is a block device that is written while it is copied. The kernel tells what is \
            written; that is copied again, pass after pass, until the rest fits into a short pause \
            of the writers. What holds them back is to be said:

              --freeze             all mounted file systems that have something on SOURCE
              --until-unmounted    nothing: the copy follows until SOURCE is unmounted
              --complete-command   what this command does; it returns when the writers stand still

            Exit code 0 means that TARGET is what SOURCE was at one moment: the kernel told of \
            each write, none was in flight, all that was written before is on TARGET's stable \
            storage, and nothing was written until that was certain. One with --bitmap that was \
            interrupted goes on with --resume, as long as the disk is tracked.

            It needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN, and a \
            kernel of version 5.12 or later with BTF.

            Examples:
              ringmirror live /dev/nvme0n1 /dev/nvme1n1 --freeze --max-pause 2s
              ringmirror live /dev/vg/data /dev/vg2/data --until-unmounted
              ringmirror live /dev/sda /dev/sdb --freeze --bitmap nightly --incremental
              ringmirror live /dev/sdb /dev/sdc --follow --freeze    (then: ringmirror job complete)
            """)

    @Argument(help: "The disk to read.", completion: .file())
    var source: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @OptionGroup(title: "Main options") var live: LiveOptions
    @OptionGroup(title: "Main options") var choice: BitmapChoice
    @OptionGroup(title: "Main options") var new: NewTargetOptions
    @OptionGroup(title: "Safety checks") var targetGuards: LiveGuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Resuming and records") var recording: RecordOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Formats") var files: NamedFileOptions
    @OptionGroup(title: "Tuning") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    static let mode = JobMode.full
    static let name = "live"
    static let expectsUse = true

    var sourcePath: PathArgument { source }
    var knownSourceFormat: ImageFormat? { .raw }
    var create: Bool { new.create }
    var bitmapChoice: BitmapChoice? { choice }
    var jobMode: JobMode { live.incremental ? .incremental : .full }
    var guards: GuardOptions { targetGuards.guards }

    func validate() throws {
        try rules.refusal.refuse()
        try live.refusal(
            resumes: recording.resume || recording.resumeAuto, bitmap: bitmap
        ).refuse()
    }

    func run() throws { try mirror() }

    func basis(of source: Disk, _ complaint: Complaint) throws -> MirrorBasis {
        guard let bitmap else { return MirrorBasis() }
        let facts = try recording.store.bitmap(
            bitmap, of: source, all: !live.incremental, complaint)
        // A target that the store knows is checked against it before the first write.
        return MirrorBasis(
            isKnown: live.incremental && (facts.lastSuccess != nil || live.newTarget))
    }

    func complete(_ request: inout RecordedMirror.Request) {
        request.live = live.request
        request.allowNewTarget = live.newTarget
    }

    func begin(
        _ source: Disk, _ target: Disk, _ basis: MirrorBasis, _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) -> RecordedMirror {
        if live.incremental {
            return try .incremental(
                from: source, to: target, request: request, records: records,
                logger: output.logger)
        }
        return try .full(
            from: source, to: target, request: request, records: records, logger: output.logger)
    }

    func measure(
        _ dryRun: DryRun, _ basis: MirrorBasis, _ complaint: Complaint
    ) throws -> Measurement {
        try complaint.perform { () throws(MirrorError) in
            try .full(of: dryRun.source, target: dryRun.newImage, zeroes: tuning.zeroes)
        }
    }
}

/// How a disk is handed over that is in use.
struct LiveOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Freeze all mounted file systems of SOURCE for the last moment.",
            discussion: """
                A second process thaws them whatever becomes of this one, and at the latest after \
                --max-pause.
                """))
    var freeze = false

    @Flag(help: "Follow until nothing has SOURCE mounted or open for writing any more.")
    var untilUnmounted = false

    @Option(
        help: ArgumentHelp(
            "Run this shell command to stop the writers, once the rest fits into --max-pause.",
            valueName: "command"))
    var completeCommand: String?

    @Flag(help: "Copy what the bitmap has dirty, and what is written meanwhile; not all.")
    var incremental = false

    @Flag(
        help: ArgumentHelp(
            "With --incremental: take a TARGET that the bitmap does not know.",
            discussion: """
                You promise that it holds the mirror that the bitmap goes on from; only \
                --verify=all would find out.
                """))
    var newTarget = false

    @Flag(help: "Stay, and follow what is written, until `ringmirror job complete`.")
    var follow = false

    @Option(
        help: ArgumentHelp(
            "How long the writers may have to wait, such as 500ms or 2s.", valueName: "time"))
    var maxPause = Span(nanoseconds: 2_000_000_000)

    /// What is wrong with the options; nil if nothing is.
    func refusal(resumes: Bool, bitmap: String?) -> String? {
        if resumes, bitmap == nil {
            return
                "without a bitmap nothing tells what was written since: a live mirror is resumed "
                + "with --bitmap NAME, for which the disk is tracked"
        }
        if incremental, bitmap == nil {
            return "--incremental copies what a bitmap has dirty: it goes with --bitmap NAME"
        }
        if newTarget, !incremental {
            return "--new-target is about what an incremental mirror goes on from: it goes with "
                + "--incremental"
        }
        let chosen = [freeze, untilUnmounted, completeCommand != nil].filter(\.self).count
        if chosen != 1 {
            return "say what holds the writers back: --freeze, --until-unmounted or "
                + "--complete-command COMMAND, one of them"
        }
        return nil
    }

    var request: LiveRequest {
        var request = LiveRequest(hold)
        request.follows = follow
        request.maxPause = maxPause.nanoseconds
        return request
    }

    private var hold: LiveRequest.Hold {
        if freeze { return .freeze }
        guard let completeCommand else { return .untilUnused }
        return .stop { ShellCommand.run(completeCommand) }
    }
}

/// The safety checks that a live mirror can do without: its source is in use.
struct LiveGuardOptions: ParsableArguments {
    @Flag(help: GuardOptions.overwriteHelp)
    var overwrite = false

    @Flag(help: GuardOptions.allowLargerHelp)
    var allowLarger = false

    var guards: GuardOptions {
        var guards = GuardOptions()
        guards.overwrite = overwrite
        guards.allowLarger = allowLarger
        guards.allowSourceInUse = true
        return guards
    }
}

/// A length of time on the command line: `500ms`, `2s`, `2`, `1.5m`.
struct Span: ExpressibleByArgument, CustomStringConvertible {
    let nanoseconds: Int64

    init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    init?(argument: String) {
        let number = argument.prefix { $0.isNumber || $0 == "." }
        let scale: Double
        switch argument.dropFirst(number.count) {
        case "", "s": scale = 1e9
        case "ms": scale = 1e6
        case "m", "min": scale = 60e9
        default: return nil
        }
        guard let value = Double(number), value > 0, value * scale <= 86_400e9 else { return nil }
        nanoseconds = Int64(value * scale)
    }

    var description: String {
        nanoseconds % 1_000_000_000 == 0
            ? "\(nanoseconds / 1_000_000_000)s" : "\(nanoseconds / 1_000_000)ms"
    }
    var defaultValueDescription: String { description }
}
