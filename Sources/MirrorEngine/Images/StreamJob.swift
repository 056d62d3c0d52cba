internal import BlockStorage
internal import DirtyBitmap
public import Logging
internal import QCOW2
public import SystemPackage

/// Copies into an image what it takes from the images below, and then lets go of them.
///
/// The image reads the same at every moment. Whatever ends the job, what was copied by the last
/// checkpoint stays copied, and another job goes on from there.
public enum StreamJob {
    /// Opens an image and everything below it, and finds out what is to be copied. The job's source
    /// is the images below, its target the image that is to stand on its own.
    ///
    /// - Parameters:
    ///   - path: the image. Nobody else may have it open.
    ///   - base: the image below on which it goes on to stand; nil: none.
    /// - Throws: `MirrorError.storage` for what can't be opened, and for a base that is not below
    ///   the image.
    public static func open(
        _ path: FilePath, base: FilePath? = nil, options: MirrorOptions = MirrorOptions(),
        logger: Logger? = nil
    ) throws(MirrorError) -> ImageJob {
        let plan = try ImageJobPlan.fitting { (cache) throws(StorageError) in
            try makePlan(path, base: base, cache)
        }
        return try ImageJob(plan, options: options, logger: logger)
    }

    private static func makePlan(
        _ path: FilePath, base: FilePath?, _ cache: CacheChoice
    ) throws(StorageError) -> ImageJobPlan? {
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
        let backing = index.map { chain.link(toLayer: $0) }
        let target = Disk(image, keepsContent: true)
        return ImageJobPlan(
            kind: .stream, source: Disk(chain, layers: 1..<chain.layers.count), target: target,
            working: try chain.lacked(above: index), before: looks,
            ending: ImageJob.Ending(
                watch: watch, places: [target.device], kept: target,
                writtenFiles: chain.layers[0].devices.count,
                droppedFiles: chain.layers[1..<(index ?? chain.layers.count)]
                    .reduce(0) { $0 + $1.devices.count }
            ) { () throws(StorageError) in
                try image.writer.setBacking(
                    file: backing?.file, format: backing?.format.rawValue)
            })
    }
}

extension ImageChain {
    /// What the top image takes from the images below it.
    ///
    /// - Parameter base: the first layer of those that it goes on to take from; nil: none.
    fileprivate func lacked(above base: Int?) throws(StorageError) -> DirtyBitmap {
        let granularity = top.granularity
        var bits =
            if let base {
                try allocated(in: 1..<base, granularity: granularity, size: size)
            } else {
                try data(below: 1, granularity: granularity)
            }
        let own = try allocated(in: 0..<1, granularity: granularity)
        bits.subtract(sameSize: own)
        return bits
    }
}
