import ArgumentParser
import RingMirror

struct GuardOptions: ParsableArguments {
    @Flag(
        help: "Write over a target that carries a file system, partition table or other signature.")
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
