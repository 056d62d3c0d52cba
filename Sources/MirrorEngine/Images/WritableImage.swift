package import BlockStorage
internal import DirtyBitmap
package import QCOW2
internal import SystemPackage

/// A qcow2 image that is open for writing, with everything below it.
package final class WritableImage: Sendable {
    /// As it was when it was opened.
    package let chain: ImageChain
    package let writer: ImageWriter
    package let bitmaps: ImageBitmaps
    private let device: StorageDevice

    /// Opens the image on a device that is open for writing, and checks its tables.
    ///
    /// - Parameters:
    ///   - namedFileOnly: refuse an image that needs other files.
    ///   - brokenBitmaps: what becomes of an image one of whose bitmaps can't be read.
    ///   - above: images that stand on this one.
    ///   - held: what else this process has open, perhaps for writing.
    package init(
        _ device: StorageDevice, cache: CacheChoice = .automatic, namedFileOnly: Bool = false,
        brokenBitmaps: ImageWriter.BrokenBitmaps = .refused, above: [StorageDevice] = [],
        held: [StorageDevice] = []
    ) throws(StorageError) {
        self.device = device
        chain = try ImageChain(
            top: device,
            options: ChainOptions(format: .qcow2, cache: cache, namedFileOnly: namedFileOnly),
            above: above, held: held)
        guard let header = chain.top.header else {
            preconditionFailure("a layer of this format has a header")
        }
        writer = try ImageWriter(chain.top.file, header, brokenBitmaps: brokenBitmaps)
        bitmaps = ImageBitmaps(writer)
    }

    /// The image as it is now, for reading.
    func read() throws(StorageError) -> ImageChain {
        let top = try Layer(
            writer.header, file: chain.top.file, device: device, dataFile: chain.top.dataFile,
            dataDevice: chain.top.dataDevice)
        return ImageChain(layers: [top] + chain.layers[1...])
    }

    /// A map for one job that writes it, of at least `size` bytes.
    ///
    /// - Parameter keepsContent: the job writes only what the image shows already.
    package func target(
        size: Int64, keepsContent: Bool = false
    ) throws(StorageError) -> QCOW2Target {
        let isNew = device.takeStartsZero()
        return try QCOW2Target(
            device, writer, content: ChainContent(try read()), isNew: isNew,
            bitmaps: keepsContent
                ? UntouchedBitmaps()
                : KeptBitmaps(bitmaps: ImageBitmaps(writer), files: chain.top.devices),
            size: size)
    }
}

/// Keeps the enabled bitmaps of a target true.
private struct KeptBitmaps: ForeignBitmaps {
    let bitmaps: ImageBitmaps
    /// Of the image alone.
    let files: [StorageDevice]

    func beforeFirstChange() throws(StorageError) { try bitmaps.markInUse() }

    func afterLastChange(changed: borrowing DirtyBitmap) throws(StorageError) {
        // What something else has written there, and where, is not known.
        var changed = changed.copy()
        if files.mayHaveOtherWriter { changed.setAll() }
        try bitmaps.store(changed: changed)
    }
}

/// Leaves the bitmaps of a target as they are: they are true afterwards as before.
private struct UntouchedBitmaps: ForeignBitmaps {
    func beforeFirstChange() {}
    func afterLastChange(changed: borrowing DirtyBitmap) {}
}
