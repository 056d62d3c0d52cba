import ArgumentParser
import RingMirror

struct FullCommand: MirrorCommand {
    static let configuration = CommandConfiguration(
        commandName: "full",
        abstract: "Make TARGET an exact copy of SOURCE.",
        usage: "ringmirror full <source> <target> [<options>]",
        discussion: """
            SOURCE and TARGET are disks, partitions or image files (raw or qcow2) of the same \
            size. Exit code 0 means that all was copied and flushed to stable storage, that no \
            write to SOURCE shows meanwhile, that TARGET still has its path and size, and that \
            nothing else was seen to write it; --verify=all compares everything.

            All that a qcow2 SOURCE shows is copied, its backing files included. Holes of SOURCE \
            become zeros on TARGET, whatever it held before.

            Nothing is written before every safety check has passed: a target that is mounted, \
            swapped on, held by LVM, RAID or a loop device, opened by another process, or that is \
            a part of the source is refused, and no option overrides that. A target with a file \
            system, a partition table or other data on it needs --overwrite.

            --only-differences reads both sides and writes only what differs: where a bitmap can't \
            be trusted any more, for thin targets, and to spare SSDs. TARGET has all guards of \
            any full mirror, and is one afterwards.

            A first Ctrl-C stops cleanly: what is in flight is finished and flushed, and the \
            progress is recorded. The target is not a mirror then; --resume continues.

            Examples:
              ringmirror full /dev/nvme0n1 /dev/nvme1n1 --overwrite --verify
              ringmirror full vm.img /backup/vm.img --create
              ringmirror full /dev/nvme0n1 /dev/nvme1n1 --overwrite --only-differences
              ringmirror full vm.qcow2 /backup/vm.qcow2 --create --bitmap nightly
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: PathArgument

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: PathArgument

    @OptionGroup(title: "Main options") var new: NewTargetOptions
    @OptionGroup(title: "Main options") var differences: DifferenceOptions
    @OptionGroup(title: "Main options") var choice: BitmapChoice
    @OptionGroup(title: "Safety checks") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Resuming and records") var recording: RecordOptions
    @OptionGroup(title: "Formats") var sourceFormat: SourceFormatOptions
    @OptionGroup(title: "Formats") var targetFormat: TargetFormatOptions
    @OptionGroup(title: "Tuning") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    static let mode = JobMode.full

    var sourcePath: PathArgument { source }
    var knownSourceFormat: ImageFormat? { sourceFormat.sourceFormat }
    var create: Bool { new.create }
    var bitmapChoice: BitmapChoice? { choice }
    var files: NamedFileOptions { sourceFormat.files }

    func validate() throws {
        var rules = rules
        rules.onlyDifferences = differences.onlyDifferences
        try rules.refusal.refuse()
    }

    func run() throws { try mirror() }

    func basis(of source: Disk, _ complaint: Complaint) throws -> MirrorBasis {
        if let bitmap { _ = try recording.store.bitmap(bitmap, of: source, all: true, complaint) }
        return MirrorBasis()
    }

    func complete(_ request: inout RecordedMirror.Request) {
        request.onlyDifferences = differences.onlyDifferences
        // All was copied, whichever part was asked for.
        if copying.verify != nil, !differences.onlyDifferences { request.verification = .all }
    }

    func begin(
        _ source: Disk, _ target: Disk, _ basis: MirrorBasis, _ records: RecordedMirror.RecordPlace
    ) throws(MirrorError) -> RecordedMirror {
        try .full(
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
