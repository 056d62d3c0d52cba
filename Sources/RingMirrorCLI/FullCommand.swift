import ArgumentParser
import RingMirror

struct FullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "full",
        abstract: "Make TARGET read exactly as SOURCE does.",
        discussion: """
            SOURCE and TARGET are disks, partitions or image files. They must have the same size. \
            Holes of the source become zeros on the target, whatever it held before. The job has \
            succeeded only when the target has been flushed to stable storage.

            Nothing is written before every guard has passed: a target that is mounted, swapped \
            on, held by LVM, RAID or a loop device, opened by another process, or that is a part \
            of the source is refused, and there is no option to override that. A target with a \
            file system or partition table on it needs --overwrite.

            Examples:
              ringmirror full /dev/nvme0n1 /dev/nvme1n1 --overwrite --verify
              ringmirror full vm.img /backup/vm.img --create
              ringmirror full /dev/sda disk.img --create --on-source-error ignore --speed 200M

            A first Ctrl-C stops cleanly: what is in flight is finished and flushed. The target \
            is not a mirror then.
            """)

    @Argument(help: "The disk or image to read.", completion: .file())
    var source: String

    @Argument(help: "The disk or image to write.", completion: .file())
    var target: String

    @OptionGroup(title: "Guards") var guards: GuardOptions
    @OptionGroup(title: "Copying") var copying: CopyOptions
    @OptionGroup(title: "Output") var output: OutputOptions

    func run() async throws {
        let complaint = Complaint(output: output)
        try complaint.checkJobs(copying)
        let source = try complaint.openSource(self.source, guards, copying)
        let target = try complaint.openTarget(self.target, for: source, guards, copying)
        let job: MirrorJob
        do throws(MirrorError) {
            job = try MirrorJob.full(
                from: source, to: target, options: copying.mirrorOptions, logger: output.logger)
        } catch {
            throw complaint.end("\(error)", Exit(error))
        }
        let run = MirrorRun(
            job: job, source: source, target: target, output: output, created: guards.create)
        try await run.mirror()
        if copying.verify { try await run.verify() }
    }
}

struct GuardOptions: ParsableArguments {
    @Flag(
        help: "Write over a target that carries a file system, partition table or other signature.")
    var overwrite = false

    @Flag(help: "Make TARGET as a new image file. It must not exist.")
    var create = false

    @Flag(help: "Accept a target that is larger than the source. What lies beyond stays as it is.")
    var allowLarger = false

    @Flag(
        help: ArgumentHelp(
            "Read a source that is mounted or otherwise in use.",
            discussion: "What is written to it while the job runs may be missing in the mirror."))
    var allowSourceInUse = false
}

struct CopyOptions: ParsableArguments {
    @Flag(help: "Compare both sides after the flush, reading back from the devices.")
    var verify = false

    @Option(
        help: ArgumentHelp(
            "What to do with zeros: detect, holes or write.",
            discussion: """
                detect makes holes of everything that is zero, holes only of holes, and write \
                allocates the whole target.
                """))
    var zeroes = ZeroHandling.detect

    @Flag(help: "Promise that the whole target reads as zeros now, so that zeros need no work.")
    var targetIsZero = false

    @Option(help: "At most this many bytes a second.", completion: nil)
    var speed: ByteSize?

    @Option(help: "Bytes in one request, a power of two from 4K to 16M (default: by the devices).")
    var requestSize: ByteSize?

    @Option(help: "Requests in flight on each ring, 1 to 1024 (default: by the devices).")
    var depth: Int?

    @Option(help: "Rings, each with a thread, 1 to 64.")
    var rings = 1

    @Option(help: "auto, direct (O_DIRECT or nothing) or buffered (through the page cache).")
    var cache = CacheChoice.automatic

    @Option(
        help: ArgumentHelp(
            "When bytes can't be read: report, ignore or stop.",
            discussion: """
                report fails the job. ignore copies everything else, tries once more at the end, \
                and then fails with a list of what is missing. stop pauses until SIGCONT.
                """))
    var onSourceError = ErrorPolicy.report

    @Option(help: "When bytes can't be written: report, ignore, stop or enospc (pause when full).")
    var onTargetError = ErrorPolicy.report

    var mirrorOptions: MirrorOptions {
        var options = MirrorOptions()
        options.requestSize = requestSize.map { Int($0.bytes) }
        options.depth = depth
        options.rings = rings
        options.zeroes = zeroes
        options.targetIsZero = targetIsZero
        options.speedLimit = speed?.bytes
        options.sourceErrorPolicy = onSourceError
        options.targetErrorPolicy = onTargetError
        return options
    }
}
