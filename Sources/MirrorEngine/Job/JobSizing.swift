internal import BlockStorage
internal import Glibc

/// Chooses the size and number of requests from the devices, within what the user asked for.
struct JobSizing {
    let requestSize: Int
    let depth: Int
    let bufferBytes: Int

    static let requestSizes = 4 << 10...16 << 20
    static let depths = 1...1024

    /// Larger requests gain nothing where huge pages keep them whole (docs/performance.md).
    private static let requestSizeMax = 512 << 10
    private static let requestSizeMin = 128 << 10
    /// With the zero area of one request behind them these make a slab of 8 MiB, which is what the
    /// memlock limit of an ordinary user allows to register; more in flight was not faster.
    private static let bytesInFlight = 15 * (512 << 10)
    /// Scattered runs of 64 KiB need this many in flight (docs/performance.md); runs of full size
    /// are bounded by the bytes.
    private static let depthMax = 128
    /// One registered buffer ends at 1 GiB, and the zero area needs room too.
    private static let bufferBytesMax = (1 << 30) - (64 << 20)

    init(_ options: MirrorOptions, source: Geometry, target: Geometry) throws(MirrorError) {
        try Self.validate(options)
        // A request above the device's limit is split by the kernel, at the cost of a tag for each
        // piece.
        let limit = min(source.maxTransfer ?? .max, target.maxTransfer ?? .max)
        let fitting = Self.powerOfTwo(
            atMost: min(max(limit, Self.requestSizeMin), Self.requestSizeMax))
        let requestSize = options.requestSize ?? fitting
        let block = max(source.logicalBlockSize, target.logicalBlockSize, 4096)
        guard requestSize % block == 0 else {
            throw .invalidOption(
                "a request size of \(requestSize) bytes "
                    + "is not a multiple of the block size, \(block)"
            )
        }
        if let depth = options.depth {
            try Self.validate(depth: depth, requestSize: requestSize)
            self.depth = depth
            bufferBytes = min(depth * requestSize, Self.used(by: source.size, requestSize))
        } else {
            depth = Self.depthMax
            bufferBytes = min(
                max(Self.bytesInFlight, requestSize * 2), Self.used(by: source.size, requestSize))
        }
        self.requestSize = requestSize
        try Self.validate(options.rings, of: bufferBytes)
    }

    /// Checks what does not depend on the devices.
    static func validate(_ options: MirrorOptions) throws(MirrorError) {
        if let size = options.requestSize,
            !requestSizes.contains(size) || size & (size - 1) != 0
        {
            throw .invalidOption(
                "the request size must be a power of two from 4K to 16M, not \(size) bytes")
        }
        if let depth = options.depth, !depths.contains(depth) {
            throw .invalidOption("the depth must be from 1 to 1024, not \(depth)")
        }
        if let depth = options.depth, let size = options.requestSize {
            try validate(depth: depth, requestSize: size)
        }
        if !(1...64).contains(options.rings) {
            throw .invalidOption("the number of rings must be from 1 to 64, not \(options.rings)")
        }
        if let speed = options.speedLimit, speed < 1 {
            throw .invalidOption("the speed limit must be at least 1 byte a second, not \(speed)")
        }
    }

    /// What a ring can use: more than the disk has is never in flight. Room for two requests stays.
    private static func used(by size: Int64, _ requestSize: Int) -> Int {
        max(2, Int(clamping: size) / requestSize + 1) * requestSize
    }

    /// All of a ring's buffers are touched before its first request: with more than the machine can
    /// give, the kernel would end a process of its choice.
    private static func validate(_ rings: Int, of bytes: Int) throws(MirrorError) {
        let (pages, page) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
        guard pages > 0, page > 0, rings * bytes > pages * page / 2 else { return }
        throw .invalidOption(
            "\(rings) rings with \(bytes >> 20) MiB of buffers each need more than half of the "
                + "memory, \(pages * page >> 20) MiB; lower the number of rings, the depth or the "
                + "request size")
    }

    private static func validate(depth: Int, requestSize: Int) throws(MirrorError) {
        guard depth * requestSize <= bufferBytesMax else {
            throw .invalidOption(
                "\(depth) requests of \(requestSize) bytes need more than \(bufferBytesMax >> 20) "
                    + "MiB of buffers on each ring; lower the depth or the request size")
        }
    }

    private static func powerOfTwo(atMost value: Int) -> Int {
        1 << (Int.bitWidth - 1 - value.leadingZeroBitCount)
    }
}
