import ArgumentParser
import RingMirror

struct TrackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "track",
        abstract: "Have the kernel mark what is written to a disk, for incremental mirrors.",
        discussion: """
            From `start` on the kernel marks each write to a disk or partition, without a process \
            of ringmirror, until `stop` or the end of the machine's run. `incremental --bitmap \
            NAME` takes what it has marked, and copies that.

            A bitmap is inconsistent if its tracking ended in another way: by a reboot, or because \
            something was lost. `full --only-differences --bitmap NAME` makes it right again.

            It needs root, or the capabilities CAP_BPF and CAP_PERFMON, and a kernel of version \
            5.12 or later with BTF.

            Examples:
              ringmirror track start /dev/sda --bitmap nightly
              ringmirror full /dev/sda /dev/sdb --bitmap nightly --overwrite
              ringmirror incremental /dev/sda /dev/sdb --bitmap nightly
              ringmirror track status /dev/sda
            """,
        subcommands: [
            TrackStartCommand.self, TrackStopCommand.self, TrackListCommand.self,
            TrackStatusCommand.self,
        ])
}

/// What every command on a tracked disk takes.
struct TrackOptions: ParsableArguments {
    @Argument(help: "The disk or partition.", completion: .file()) var disk: PathArgument
    @OptionGroup var store: StoreOptions
    @OptionGroup var output: OutputOptions

    var complaint: Complaint { Complaint(output: output) }

    /// Opens the disk, which may be in use.
    func open() throws -> Disk {
        try complaint.attempt { () throws(StorageError) in
            var options = SourceOptions(allowSourceInUse: true)
            options.expectsUse = true
            return try Disk.openSource(disk.path, format: .raw, options: options)
        }
    }

    func tracking(of disk: Disk) throws -> DiskTracking {
        try complaint.perform { () throws(MirrorError) in
            try DiskTracking(of: disk, records: .path(store.path(for: disk)))
        }
    }
}

struct TrackStartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Begin to track a disk for a bitmap.",
        usage: "ringmirror track start <disk> --bitmap <name> [<options>]",
        discussion: """
            The bitmap is added if it is not there. A disk may be tracked for several bitmaps. \
            Before the first incremental mirror the target needs a full one with the bitmap.

            Examples:
              ringmirror track start /dev/sda --bitmap nightly
            """)

    @OptionGroup var options: TrackOptions

    @Option(help: ArgumentHelp("The bitmap that is marked.", valueName: "name"))
    var bitmap: String

    @Option(
        help: ArgumentHelp("Bytes that one mark stands for.", valueName: "size"))
    var granularity = ByteSize(bytes: Granularity.default.bytes)

    func run() throws {
        let complaint = options.complaint
        let granularity = try complaint.granularity(granularity)
        let disk = try options.open()
        try options.store.requirePlace(complaint)
        let tracking = try options.tracking(of: disk)
        let (isNew, lost) = try complaint.perform { () throws(MirrorError) in
            try tracking.start(bitmap: bitmap, granularity: granularity)
        }
        if let lost {
            options.output.warn(
                .mirror,
                "what tracked \(disk.path) before had lost something, and its other bitmaps are "
                    + "inconsistent: \(lost)")
        }
        if options.output.json {
            Events.print(Events.Tracking("start", disk, [bitmap], isNew: isNew))
        } else if !options.output.quiet {
            Output.line(
                "the kernel marks what is written to \(disk.path) for bitmap '\(bitmap)'"
                    + (isNew ? "" : ", as it does for others"))
        }
    }
}

struct TrackStopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "End the tracking of a disk, for one bitmap or for all.",
        usage: "ringmirror track stop <disk> [--bitmap <name>] [<options>]",
        discussion: """
            The bitmaps get what was marked until now, and stay as they are from then on.

            Examples:
              ringmirror track stop /dev/sda
            """)

    @OptionGroup var options: TrackOptions

    @Option(help: ArgumentHelp("For this bitmap only.", valueName: "name"))
    var bitmap: String?

    func run() throws {
        let disk = try options.open()
        let tracking = try options.tracking(of: disk)
        let names = try options.complaint.perform { () throws(MirrorError) in
            try tracking.stop(bitmap: bitmap)
        }
        if options.output.json {
            Events.print(Events.Tracking("stop", disk, names))
        } else if !options.output.quiet {
            let list = names.map { "'\($0)'" }.joined(separator: ", ")
            Output.line(
                names.isEmpty
                    ? "\(disk.path) was tracked for no bitmap"
                    : "\(disk.path) is tracked for \(list) no longer")
        }
    }
}
