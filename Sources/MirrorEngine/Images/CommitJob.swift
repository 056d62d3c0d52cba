internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
public import Logging
internal import QCOW2
public import SystemPackage

/// Moves what an image has itself down into the image that it stands on.
///
/// The overlay keeps all it has until the image below has it on stable storage. A job that was
/// interrupted is simply run again.
public enum CommitJob {
    /// Opens an image and the one that it stands on, both for writing. The latter grows if it is
    /// smaller. The job's source is the overlay, its target the image below.
    ///
    /// - Throws: `MirrorError.storage` for what can't be opened, for an image that stands on
    ///   nothing, and for a disk below that is too small.
    public static func open(
        _ path: FilePath, keepsOverlay: Bool = false, options: MirrorOptions = MirrorOptions(),
        logger: Logger? = nil
    ) throws(MirrorError) -> ImageJob {
        // Nothing grows before all that the job needs was looked at.
        _ = try checked(path, keepsOverlay: keepsOverlay)
        let plan = try ImageJobPlan.fitting { (cache) throws(StorageError) in
            try makePlan(path, keepsOverlay: keepsOverlay, isRehearsal: false, cache)
        }
        return try ImageJob(plan, options: options, logger: logger)
    }

    /// Opens what a commit would open, with every guard of it, and writes nothing.
    ///
    /// - Returns: what would be copied into which image, and in sentences what that would cost.
    public static func rehearse(
        _ path: FilePath, keepsOverlay: Bool = false
    ) throws(MirrorError) -> (plan: Measurement, target: FilePath, warnings: [String]) {
        let plan = try checked(path, keepsOverlay: keepsOverlay)
        return (
            try .incremental(of: plan.source, dirty: plan.working), plan.target.path,
            plan.target.warnings
        )
    }

    /// What would be done, with all guards: nothing grows, and the bitmaps of the image below can
    /// be marked.
    private static func checked(
        _ path: FilePath, keepsOverlay: Bool
    ) throws(MirrorError) -> ImageJobPlan {
        let plan = try ImageJobPlan.fitting { (cache) throws(StorageError) in
            try makePlan(path, keepsOverlay: keepsOverlay, isRehearsal: true, cache)
        }
        let store: FilePath?
        do throws(BitmapStoreError) { store = try TargetMarks.check(plan.target) } catch {
            throw .store(error)
        }
        guard let store, plan.target.geometry.size < plan.source.geometry.size else { return plan }
        throw .storage(
            .image(
                ImageProblem(
                    .refused, plan.target.path,
                    "it is smaller than the overlay, and \(store) is a store for its size",
                    remedy: "Move that file away, and mirror the image in full afterwards.")))
    }

    /// - Parameter isRehearsal: nothing grows.
    private static func makePlan(
        _ path: FilePath, keepsOverlay: Bool, isRehearsal: Bool, _ cache: CacheChoice
    ) throws(StorageError) -> ImageJobPlan? {
        let device = try StorageDevice.openForChange(
            path, apartFrom: [], cache: cache, watchesWriters: !isRehearsal)
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
            base.path, apartFrom: [device], cache: cache, watchesWriters: !isRehearsal)
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
            target = Disk(image, warnings: try image.bitmaps.lostByWriting())
            below = image.chain.layers
        case .raw:
            if baseDevice.geometry.size < layer.size {
                try makeRoom(on: baseDevice, for: layer.size, isRehearsal: isRehearsal)
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
        let source = Disk(chain)
        return ImageJobPlan(
            kind: .commit, source: source, target: target, working: working,
            ending: ImageJob.Ending(
                // Clusters of the image below are filled up with what it stands on.
                watch: watch.adding(WriteWatch(below[1...].flatMap(\.devices))),
                places: [source.device, target.device], kept: source,
                writtenFiles: layer.devices.count + below[0].devices.count, droppedFiles: 0
            ) { [growing] () throws(StorageError) in
                try growing?.resize(to: source.geometry.size)
                try overlay?.makeEmpty()
            })
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
                    remedy: "\(.keepOverlay)."))
        }
        return try ImageWriter(layer.file, header, brokenBitmaps: .passed)
    }

    /// A file grows; how large a disk is nobody here can change.
    private static func makeRoom(
        on device: StorageDevice, for size: Int64, isRehearsal: Bool
    ) throws(StorageError) {
        guard device.kind == .image else {
            throw .refused(
                .targetTooSmall(
                    target: device.path, targetSize: device.geometry.size, sourceSize: size))
        }
        if !isRehearsal { try DeviceFile(device).resize(to: size) }
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
