import ArgumentParser
import RingMirror

struct GuardOptions: ParsableArguments {
    @Flag(
        help: "Write over a target that carries a file system, a partition table or other data.")
    var overwrite = false

    @Flag(help: "Accept a target that is larger than the source. What lies beyond stays as it is.")
    var allowLarger = false

    @Flag(
        help: ArgumentHelp(
            "Read a source that is mounted or otherwise in use.",
            discussion: "What is written to it while the job runs may be missing in the mirror."))
    var allowSourceInUse = false
}

struct CopyOptions: ParsableArguments {
    @Flag var verify: Verification?

    @Option(
        help: ArgumentHelp(
            "What to do with zeros.",
            discussion: """
                detect makes holes of everything that is zero, holes only of holes, and write \
                allocates the whole target.
                """))
    var zeroes = ZeroHandling.detect

    @Flag(help: "Promise that the whole target reads as zeros now, so that zeros need no work.")
    var targetIsZero = false

    @Option(
        help: ArgumentHelp(
            "At most this many bytes a second, such as 200M: M is 2^20.", valueName: "rate"))
    var speed: ByteRate?

    @Option(
        help: ArgumentHelp(
            "Bytes in one request, a power of two from 4K to 16M (default: by the devices).",
            valueName: "size"))
    var requestSize: ByteSize?

    @Option(help: "Requests in flight on each ring, 1 to 1024 (default: by the devices).")
    var depth: Int?

    @Option(help: "Rings, each with a thread, 1 to 64.")
    var rings = 1

    @Option(help: IOMethod.help)
    var io = IOMethod.automatic

    @Option(help: "direct is O_DIRECT or nothing, buffered goes through the page cache.")
    var cache = CacheChoice.automatic

    @Option(
        help: ArgumentHelp(
            "When bytes can't be read.",
            discussion: """
                report (or fail): the job fails at once. ignore (or skip): everything else is \
                copied, the rest is tried once more at the end, and then the job fails with a \
                list of what is missing. stop (or wait): the job pauses until SIGCONT.
                """, valueName: "policy"))
    var onSourceError = SourceErrorPolicy.report

    @Option(
        help: ArgumentHelp(
            "When bytes can't be written.",
            discussion: "As above; enospc (or wait-if-full) pauses only when TARGET is full.",
            valueName: "policy"))
    var onTargetError = TargetErrorPolicy.report

    var mirrorOptions: MirrorOptions {
        var options = MirrorOptions()
        options.requestSize = requestSize.map { Int($0.bytes) }
        options.depth = depth
        options.rings = rings
        options.io = io
        options.zeroes = zeroes
        options.targetIsZero = targetIsZero
        options.speedLimit = speed?.bytes
        options.sourceErrorPolicy = onSourceError.policy
        options.targetErrorPolicy = onTargetError.policy
        return options
    }
}
