internal import BlockStorage
internal import Ring

/// What runs over a queue, of whatever kind it is.
protocol QueueUser {
    func run<Queue: RequestQueue & ~Copyable>(over queue: consuming Queue)
}

/// What a job's requests went through.
struct QueueSetup: Sendable {
    /// Never `.automatic`.
    let method: IOMethod
    /// Why there is no ring, where one was preferred.
    let refusal: RingError?
    /// Why the buffers of the ring are not registered.
    let plainBuffersReason: String?
}

extension IOMethod {
    /// Makes a queue by this method and has `user` run over it.
    ///
    /// - Parameters:
    ///   - depth: how many requests are in flight at most.
    ///   - endpoints: what the file of a request counts in.
    ///   - decompression: a helper of the queue, if there is one.
    ///   - note: is told first which kind the queue became.
    func withQueue(
        depth: Int, endpoints: [Endpoint], decompression: (any DecompressionDriver)? = nil,
        slabBytes: Int,
        note: (QueueSetup) -> Void, _ user: some QueueUser
    ) throws(RingError) {
        let slab = try BufferSlab(byteCount: slabBytes)
        let helpers: [any QueueDriver] = decompression.map { [$0] } ?? []
        // The queue below polls all drivers.
        let (files, drivers) = try Self.open(endpoints)
        let polled = files + helpers.map(\.descriptor)
        let places = depth + drivers.count { $0 != nil } + helpers.count
        var refusal: RingError?
        if self != .threads {
            do throws(RingError) {
                let ring = try Self.provenRing(depth: places, files: polled, slab)
                note(
                    QueueSetup(
                        method: .uring, refusal: nil,
                        plainBuffersReason: ring.setup.plainBuffersReason))
                user.run(over: CompositeQueue(ring, endpoints: drivers, helpers: helpers))
                return
            } catch {
                guard self == .automatic else { throw error }
                refusal = error
            }
        }
        let queue = try ThreadQueue(depth: places, files: polled, buffers: slab)
        note(QueueSetup(method: .threads, refusal: refusal, plainBuffersReason: nil))
        user.run(over: CompositeQueue(queue, endpoints: drivers, helpers: helpers))
    }

    /// The descriptor of each endpoint, and the driver of each that has one.
    private static func open(
        _ endpoints: [Endpoint]
    ) throws(RingError) -> (files: [CInt], drivers: [(any EndpointDriver)?]) {
        var files: [CInt] = []
        var drivers: [(any EndpointDriver)?] = []
        for endpoint in endpoints {
            switch endpoint {
            case .file(let descriptor):
                files.append(descriptor)
                drivers.append(nil)
            case .driver(let make):
                let driver = try make()
                files.append(driver.descriptor)
                drivers.append(driver)
            }
        }
        return (files, drivers)
    }

    /// A ring that has carried a request out: a sandbox may allow io_uring_setup and forbid the
    /// calls that come after it.
    private static func provenRing(
        depth: Int, files: [CInt], _ slab: BufferSlab
    ) throws(RingError) -> Ring {
        var ring = try Ring(depth: depth, files: files, buffers: slab)
        ring.enqueue(.nop, token: 0)
        do throws(RingError) {
            while ring.nextCompletion() == nil {
                try ring.submitAndWait(minimum: 1, timeoutNanoseconds: nil)
            }
        } catch {
            // Nothing that the kernel could write to is in flight but the nop.
            ring.forsake()
            throw error
        }
        return ring
    }

    /// Throws why this method does not work here.
    func check() throws(RingError) {
        struct Nothing: QueueUser {
            func run<Queue: RequestQueue & ~Copyable>(over queue: consuming Queue) {}
        }
        try withQueue(depth: 1, endpoints: [], slabBytes: 1, note: { _ in }, Nothing())
    }
}
