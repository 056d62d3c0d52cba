import ArgumentParser
import RingMirror

struct NewTargetOptions: ParsableArguments {
    @Flag(help: "Make TARGET as a new image file. It must not exist.")
    var create = false
}

struct DifferenceOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Compare all of both sides first, and write only what differs.",
            discussion: """
                What reads the same stays as it is on TARGET, be it allocated or a hole, whatever \
                --zeroes says. What can't be read of TARGET is written.
                """))
    var onlyDifferences = false
}

struct GuardOptions: ParsableArguments {
    static let overwriteHelp: ArgumentHelp =
        "Write over a target that carries a file system, a partition table or other data."
    static let allowLargerHelp: ArgumentHelp =
        "Accept a target that is larger than the source. What lies beyond stays as it is."

    @Flag(help: GuardOptions.overwriteHelp)
    var overwrite = false

    @Flag(help: GuardOptions.allowLargerHelp)
    var allowLarger = false

    @Flag(
        help: ArgumentHelp(
            "Read a source that is mounted or otherwise in use.",
            discussion: """
                What is written to it while the job runs may be missing: the copy then mixes \
                points in time.
                """))
    var allowSourceInUse = false
}

struct CopyOptions: ParsableArguments {
    @Flag var verify: Verification?

    @Option(help: SpeedHelp.speed)
    var speed: ByteRate?

    @Option(
        help: ArgumentHelp(
            "What to do when bytes can't be read.",
            discussion: """
                report (or fail): the job fails at once. ignore (or skip): everything else is \
                copied, the rest is tried once more at the end, and then the job fails with a \
                list of what is missing. stop (or wait): the job pauses until SIGCONT.
                """, valueName: "policy"))
    var onSourceError = SourceErrorPolicy.report

    @Option(
        help: ArgumentHelp(
            "What to do when bytes can't be written.",
            discussion: """
                As for --on-source-error; enospc (or wait-if-full) pauses only when TARGET is full.
                """, valueName: "policy"))
    var onTargetError = TargetErrorPolicy.report
}

/// What rarely has to be chosen: the defaults fit, or are found out from the devices.
struct TuningOptions: ParsableArguments {
    @Option(help: TuningOptions.zeroesHelp)
    var zeroes = ZeroHandling.detect

    static let zeroesHelp = ArgumentHelp(
        "What becomes of zeros on TARGET.",
        discussion: """
            detect makes holes of everything that is zero, holes only of holes, and write \
            allocates the whole target. TARGET reads the same after all three.
            """, valueName: "how")

    @Flag(help: "Promise that the whole target reads as zeros now, so that zeros need no work.")
    var targetIsZero = false

    @Option(help: SpeedHelp.requestSize)
    var requestSize: ByteSize?

    @Option(help: SpeedHelp.depth)
    var depth: Int?

    @Option(help: ArgumentHelp("Rings, each with a thread, from 1 to 64.", valueName: "count"))
    var rings = 1

    @Option(help: IOMethod.help)
    var io = IOMethod.automatic

    @Option(help: CacheChoice.help)
    var cache = CacheChoice.automatic

    func mirrorOptions(_ copying: CopyOptions) -> MirrorOptions {
        var options = MirrorOptions()
        options.requestSize = requestSize.map { Int($0.bytes) }
        options.depth = depth
        options.rings = rings
        options.io = io
        options.zeroes = zeroes
        options.targetIsZero = targetIsZero
        options.speedLimit = copying.speed?.bytes
        options.sourceErrorPolicy = copying.onSourceError.policy
        options.targetErrorPolicy = copying.onTargetError.policy
        return options
    }
}

/// Options of every command that copies.
enum SpeedHelp {
    static let speed = ArgumentHelp(
        "Copy at most so many bytes a second, such as 200M (M is 2^20; default: no limit).",
        valueName: "rate")
    static let requestSize = ArgumentHelp(
        "Bytes in one request, a power of two from 4K to 16M (default: by the devices).",
        valueName: "size")
    static let depth = ArgumentHelp(
        "Requests in flight on each ring, from 1 to 1024 (default: by the devices).",
        valueName: "count")
}
