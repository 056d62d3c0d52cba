internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
public import Logging
internal import QCOW2
internal import Ring
public import SystemPackage

/// Moves what an image has itself down into the image that it stands on.
///
/// The overlay keeps all it has until the image below has it on stable storage. A job that was
/// interrupted is simply run again.
public final class CommitJob: Sendable {
    /// The overlay.
    public let source: Disk
    /// The image below.
    public let target: Disk
    /// The copying: progress, pause, resume, cancel, speed.
    public let job: MirrorJob

    /// Nil: the overlay is left as it is.
    private let overlay: ImageWriter?
    /// The image below, if it grows.
    private let growing: ImageWriter?
    /// The overlay, as it was before.
    private let watch: WriteWatch
    /// All files of the chain before the first write, those of the overlay first.
    private let before: [WriteWitness]
    /// How many of them are written: those of the overlay and of the image below it.
    private let writtenFiles: Int
    private let log: JobLog

    private init(_ plan: borrowing Plan, job: MirrorJob, log: JobLog) {
        source = plan.source
        target = plan.target
        overlay = plan.overlay
        growing = plan.growing
        watch = plan.watch
        before = plan.source.freshWitness()
        writtenFiles = plan.writtenFiles
        self.job = job
        self.log = log
    }

    /// Opens an image and the one that it stands on, both for writing. The latter grows if it is
    /// smaller.
    ///
    /// - Throws: `MirrorError.storage` for what can't be opened, for an image that stands on
    ///   nothing, and for a disk below that is too small.
    public static func open(
        _ path: FilePath, keepsOverlay: Bool = false, options: MirrorOptions = MirrorOptions(),
        logger: Logger? = nil
    ) throws(MirrorError) -> CommitJob {
        // Nothing grows before all that the job needs was looked at.
        _ = try Plan.checked(path, keepsOverlay: keepsOverlay)
        let plan: Plan
        do throws(StorageError) {
            plan = try Plan.make(path, keepsOverlay: keepsOverlay)
        } catch {
            throw .storage(error)
        }
        let job = try MirrorJob(
            from: plan.source, to: plan.target, working: plan.working.copy(), options: options,
            checkpoints: Checkpoints(every: StreamJob.checkpointInterval), logger: logger)
        return CommitJob(plan, job: job, log: JobLog(logger))
    }

    /// Opens what a commit would open, with every guard of it, and writes nothing.
    ///
    /// - Returns: what would be copied into which image.
    public static func rehearse(
        _ path: FilePath, keepsOverlay: Bool = false
    ) throws(MirrorError) -> (plan: Measurement, target: FilePath) {
        let plan = try Plan.checked(path, keepsOverlay: keepsOverlay)
        return (try .incremental(of: plan.source, dirty: plan.working), plan.target.path)
    }

    /// What is to be copied where, and what is emptied afterwards.
    private struct Plan: ~Copyable {
        let source, target: Disk
        let overlay: ImageWriter?
        let growing: ImageWriter?
        let watch: WriteWatch
        let writtenFiles: Int
        let working: DirtyBitmap

        /// What would be done, with all guards: nothing grows, and the bitmaps of the image below
        /// can be marked.
        static func checked(
            _ path: FilePath, keepsOverlay: Bool
        ) throws(MirrorError) -> Plan {
            let plan: Plan
            do throws(StorageError) {
                plan = try make(path, keepsOverlay: keepsOverlay, isRehearsal: true)
            } catch {
                throw .storage(error)
            }
            do throws(BitmapStoreError) { try TargetMarks.check(plan.target) } catch {
                throw .store(error)
            }
            return plan
        }

        /// - Parameter isRehearsal: nothing grows.
        static func make(
            _ path: FilePath, keepsOverlay: Bool, isRehearsal: Bool = false
        ) throws(StorageError) -> Plan {
            if let plan = try make(path, keepsOverlay, isRehearsal, .automatic) { return plan }
            guard let plan = try make(path, keepsOverlay, isRehearsal, .buffered) else {
                preconditionFailure("the page cache takes requests of any length")
            }
            return plan
        }

        /// Nil if the blocks of a device are larger than what the overlay allocates. A job would
        /// then read the rest of a block from an image that it is changing: it has to go through
        /// the page cache.
        private static func make(
            _ path: FilePath, _ keepsOverlay: Bool, _ isRehearsal: Bool, _ cache: CacheChoice
        ) throws(StorageError) -> Plan? {
            let device = try StorageDevice.openForChange(path, apartFrom: [], cache: cache)
            let layer = try ImageChain(
                top: device,
                options: ChainOptions(format: .qcow2, cache: cache, opensBacking: false)
            ).top
            let watch = WriteWatch(layer.devices)
            guard let header = layer.header, let base = try layer.backing() else {
                throw .image(
                    ImageProblem(
                        .missing, path, "it stands on no other image",
                        remedy: "There is nothing to commit to."))
            }
            try ImageChain(layers: [layer]).requireNoSnapshots("that take from the image below")
            let overlay = keepsOverlay ? nil : try emptying(layer, header)
            // Its own lock would keep it from being opened, and seem to be another's.
            if device.isSame(as: base.path) { throw Self.circle(path, base.path) }
            let baseDevice = try StorageDevice.openForChange(
                base.path, apartFrom: [device], cache: cache)
            let target: Disk
            let below: [Layer]
            var growing: ImageWriter?
            switch base.format {
            case .qcow2:
                let image = try WritableImage(baseDevice, cache: cache, above: [device])
                if image.chain.size < layer.size {
                    try makeRoom(in: image, for: layer.size, isRehearsal: isRehearsal)
                    growing = image.writer
                }
                target = Disk(image)
                below = image.chain.layers
            case .raw:
                // Of a disk that is asked whether it is large enough.
                if baseDevice.geometry.size < layer.size,
                    !isRehearsal || baseDevice.kind == .disk
                {
                    try DeviceFile(baseDevice).resize(to: layer.size)
                }
                target = Disk(baseDevice)
                below = [try Layer(raw: DeviceFile(baseDevice), device: baseDevice)]
            }
            let chain = ImageChain(layers: [layer] + below)
            guard chain.blockSize <= layer.granularity.bytes else { return nil }
            var working = try chain.allocated(in: 0..<1, granularity: layer.granularity)
            // Behind the end of the image below the overlay has zeros, and a larger image further
            // down may have something.
            if growing != nil { working.set(below[0].size..<layer.size) }
            return Plan(
                source: Disk(chain), target: target, overlay: overlay, growing: growing,
                watch: watch, writtenFiles: layer.devices.count + below[0].devices.count,
                working: working)
        }

        private static func circle(_ path: FilePath, _ base: FilePath) -> StorageError {
            .image(
                ImageProblem(
                    .malformed, path, "\(base) is in the chain of images twice",
                    remedy: "`qemu-img rebase -u` tells the image what it stands on."))
        }

        private static func emptying(
            _ layer: Layer, _ header: Header
        ) throws(StorageError) -> ImageWriter {
            guard !header.incompatible.contains(.dataFile) else {
                throw .image(
                    ImageProblem(
                        .unsupported, layer.path,
                        "its data is in a file of its own, which can't be emptied here",
                        remedy: "Use --keep to leave it as it is."))
            }
            return try ImageWriter(layer.file, header, brokenBitmaps: .passed)
        }

        /// Until all is copied the image keeps its size, so that nothing shows that is not true.
        private static func makeRoom(
            in image: WritableImage, for size: Int64, isRehearsal: Bool
        ) throws(StorageError) {
            let bitmaps = try image.bitmaps.list()
            guard bitmaps.bitmaps.isEmpty, bitmaps.problems.isEmpty else {
                throw .image(
                    ImageProblem(
                        .refused, image.chain.top.path,
                        "it is smaller than the overlay, and has bitmaps of its size",
                        remedy: "`qemu-img resize` grows both; or remove the bitmaps."))
            }
            if !isRehearsal { try image.writer.makeRoom(for: size) }
        }
    }

    /// Copies, and empties the overlay once that is on stable storage.
    public func run() async -> ImageJobReport {
        await withTaskCancellationHandler {
            await WorkerThread.result { self.runAndWait() }
        } onCancel: {
            job.cancel()
        }
    }

    /// The same on the caller's thread.
    public func runAndWait() -> ImageJobReport {
        let report = end(job.runAndWait())
        renewWitness()
        return report
    }

    /// The overlay reads as it did: to the bitmaps that are kept of it, nothing of it was written.
    private func renewWitness() {
        let written = source.devices.prefix(writtenFiles).map { $0.witness() }
        do throws(BitmapStoreError) {
            // What is further down was only read. What something else writes there has to show.
            try TargetMarks.renewSourceWitness(
                of: source, before, written + before.dropFirst(writtenFiles))
        } catch {
            log.contentUnheard(error)
        }
        for look in written { look.waitUntilWritesShow() }
    }

    private func end(_ report: MirrorReport) -> ImageJobReport {
        ImageJobReport(
            report,
            check: { () throws(MirrorError) in
                try watch.requireUnwritten()
                try source.device.requireInPlace()
                try target.device.requireInPlace()
            },
            ending: { () throws(StorageError) in
                try growing?.resize(to: source.geometry.size)
                try overlay?.makeEmpty()
            })
    }
}
