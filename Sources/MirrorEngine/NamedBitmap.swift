public import BitmapStore
public import BlockStorage
internal import DirtyBitmap
internal import QCOW2

extension Disk {
    /// Which bitmap of this disk is meant by a name: the one inside the image, if the image has one
    /// of this name, else one of the store.
    ///
    /// Everything that works with a named bitmap asks here, so that a name means the same bitmap
    /// everywhere.
    ///
    /// - Parameter storeAlone: leave the bitmaps inside the image out.
    /// - Throws: what keeps the image from being asked. A directory of bitmaps that can't be read
    ///   may have the name, so that the store is not asked in its stead.
    public func reference(
        toBitmap name: String, storeAlone: Bool = false
    ) throws(StorageError) -> BitmapReference {
        guard !storeAlone, let bitmaps, try bitmaps.contains(name) else { return .stored(name) }
        return .image(name)
    }
}

/// A bitmap in the image of a source, as it was when a job began to work on it.
///
/// The image is open for writing by this process alone, so that nothing else marks in it
/// meanwhile: what was taken can be cleared afterwards.
final class ImageMarks: Sendable {
    let name: String
    let bits: DirtyBitmap
    let isRecording: Bool
    private let bitmaps: ImageBitmaps

    /// Nil if the bitmap is not one in the image.
    ///
    /// - Throws: `.storage` for a bitmap that can't be trusted.
    init?(_ reference: BitmapReference?, of source: Disk) throws(MirrorError) {
        guard case .image(let name) = reference else { return nil }
        guard let bitmaps = source.bitmaps else {
            preconditionFailure("only images have bitmaps of their own")
        }
        self.name = name
        self.bitmaps = bitmaps
        do throws(StorageError) {
            bits = try bitmaps.load(name)
            isRecording = try bitmaps.bitmap(name).isRecording
        } catch {
            throw .storage(error)
        }
    }

    /// Clears in the image what the store says is safe to be cleared.
    func clear(_ bits: borrowing DirtyBitmap) throws(StorageError) {
        try bitmaps.subtract(name, bits)
    }
}
