internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
public import Logging
internal import QCOW2
internal import Ring
public import SystemPackage

/// Copies into an image what it takes from the images below, and then lets go of them.
///
/// The image reads the same at every moment. Whatever ends the job, what was copied by the last
/// checkpoint stays copied, and another job goes on from there.
public final class StreamJob: Sendable {
    /// The images below.
    public let source: Disk
    /// The image that is to stand on its own.
    public let target: Disk
    /// The copying: progress, pause, resume, cancel, speed.
    public let job: MirrorJob

    private let image: WritableImage
    /// What the image stands on afterwards; nil: nothing.
    private let backing: BackingLink?
    /// Which of the chain that is; nil: none.
    private let base: Int?
    /// The images below, as they were before.
    private let watch: WriteWatch
    /// All files before the first write, those of the image first.
    private let before: [WriteWitness]
    private let log: JobLog

    private init(
        source: Disk, target: Disk, plan: borrowing Plan, job: MirrorJob, logger: Logger?
    ) {
        self.source = source
        self.target = target
        image = plan.image
        backing = plan.backing
        base = plan.base
        watch = plan.watch
        before = plan.before
        log = JobLog(logger)
        self.job = job
    }

    /// Opens an image and everything below it, and finds out what is to be copied.
    ///
    /// - Parameters:
    ///   - path: the image. Nobody else may have it open.
    ///   - base: the image below on which it goes on to stand; nil: none.
    /// - Throws: `MirrorError.storage` for what can't be opened, and for a base that is not below
    ///   the image.
    public static func open(
        _ path: FilePath, base: FilePath? = nil, options: MirrorOptions = MirrorOptions(),
        logger: Logger? = nil
    ) throws(MirrorError) -> StreamJob {
        let plan: Plan
        do throws(StorageError) { plan = try Plan.make(path, base) } catch { throw .storage(error) }
        let chain = plan.image.chain
        let source = Disk(chain, layers: 1..<chain.layers.count)
        let target = Disk(plan.image, keepsContent: true)
        // What was copied has to be kept now and then, so that an interrupted job was not in vain.
        let job = try MirrorJob(
            from: source, to: target, working: plan.working.copy(), options: options,
            checkpoints: Checkpoints(every: checkpointInterval), logger: logger)
        return StreamJob(source: source, target: target, plan: plan, job: job, logger: logger)
    }

    /// What is to be copied, and what follows.
    private struct Plan: ~Copyable {
        let image: WritableImage
        let backing: BackingLink?
        let base: Int?
        let watch: WriteWatch
        let before: [WriteWitness]
        let working: DirtyBitmap

        static func make(_ path: FilePath, _ base: FilePath?) throws(StorageError) -> Plan {
            if let plan = try make(path, base, .automatic) { return plan }
            guard let plan = try make(path, base, .buffered) else {
                preconditionFailure("the page cache takes requests of any length")
            }
            return plan
        }

        /// Nil if the blocks of a device are larger than what the image allocates. A job would then
        /// copy more than it should, over what the image has itself: it has to go through the page
        /// cache.
        private static func make(
            _ path: FilePath, _ base: FilePath?, _ cache: CacheChoice
        ) throws(StorageError) -> Plan? {
            let device = try StorageDevice.openForChange(path, apartFrom: [], cache: cache)
            let before = device.settledWitness()
            let image = try WritableImage(device, cache: cache)
            let chain = image.chain
            guard chain.blockSize <= chain.top.granularity.bytes else { return nil }
            guard chain.layers.count > 1 else {
                throw .image(
                    ImageProblem(
                        .missing, path, "it stands on no other image",
                        remedy: "There is nothing to stream."))
            }
            let others = chain.devices.dropFirst()
            let looks = [before] + others.map { $0.openingWitness ?? $0.settledWitness() }
            let watch = WriteWatch(chain.layers[1...].flatMap(\.devices))
            try chain.requireNoSnapshots("that take from the images below")
            let index = try chain.indexOfBase(base)
            if let base, index == 1 {
                throw .image(
                    ImageProblem(
                        .missing, path, "it stands on \(base) already",
                        remedy: "There is nothing to stream."))
            }
            let granularity = chain.top.granularity
            var bits =
                if let index {
                    try chain.allocated(
                        in: 1..<index, granularity: granularity, size: chain.size)
                } else {
                    try chain.data(below: 1, granularity: granularity)
                }
            try bits.subtractOwn(of: chain)
            return Plan(
                image: image, backing: index.map { chain.link(toLayer: $0) }, base: index,
                watch: watch, before: looks, working: bits)
        }
    }

    /// In nanoseconds.
    static let checkpointInterval: Int64 = 5_000_000_000

    /// Copies, and lets go of the images below once that is on stable storage.
    public func run() async -> ImageJobReport {
        let report = await job.run()
        return await WorkerThread.result { self.end(report) }
    }

    /// The same on the caller's thread.
    public func runAndWait() -> ImageJobReport { end(job.runAndWait()) }

    private func end(_ report: MirrorReport) -> ImageJobReport {
        let ended = ImageJobReport(
            report,
            check: { () throws(MirrorError) in
                try watch.requireUnwritten()
                try target.device.requireInPlace()
            },
            ending: { () throws(StorageError) in
                try image.writer.setBacking(file: backing?.file, format: backing?.format.rawValue)
            })
        renewWitness(isDone: ended.mirror.outcome.isMirrored)
        return ended
    }

    /// The image reads as it did: to the bitmaps that are kept of it, nothing of it was written.
    ///
    /// - Parameter isDone: it has let go of the images above its base.
    private func renewWitness(isDone: Bool) {
        let layers = image.chain.layers
        let written = layers[0].devices.map { $0.witness() }
        var found = written
        var rest = before.dropFirst(written.count)
        for (index, layer) in layers.enumerated().dropFirst() {
            let look = rest.prefix(layer.devices.count)
            rest = rest.dropFirst(layer.devices.count)
            // These were only read. What something else writes to them has to show.
            if !isDone || base.map({ index >= $0 }) ?? false { found += look }
        }
        do throws(BitmapStoreError) {
            try TargetMarks.renewSourceWitness(of: target, before, found)
        } catch {
            log.contentUnheard(error)
        }
        for look in written { look.waitUntilWritesShow() }
    }
}

extension ImageChain {
    /// The largest block of the devices that the chain is on, in bytes.
    var blockSize: Int64 { Int64(devices.map(\.geometry.offsetAlignment).max() ?? 1) }

    /// Refuses an image whose snapshots would show something else afterwards.
    ///
    /// - Parameter which: what the snapshots do.
    func requireNoSnapshots(_ which: String) throws(StorageError) {
        guard let snapshot = top.snapshots.first else { return }
        throw .image(
            ImageProblem(
                .refused, top.path,
                "it has snapshots inside \(which), such as '\(snapshot.name)', and they would "
                    + "read differently afterwards",
                remedy: "`qemu-img snapshot -d` removes those that are not needed; or make a copy "
                    + "with `ringmirror full`."))
    }
}

extension DirtyBitmap {
    /// Leaves what the top image of a chain doesn't have itself.
    fileprivate mutating func subtractOwn(of chain: ImageChain) throws(StorageError) {
        let own = try chain.allocated(in: 0..<1, granularity: granularity)
        subtract(sameSize: own)
    }
}
