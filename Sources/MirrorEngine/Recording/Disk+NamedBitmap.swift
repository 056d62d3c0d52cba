public import BitmapStore
public import BlockStorage
internal import DirtyBitmap
public import QCOW2

extension Disk {
    /// Which bitmap of this disk is meant by a name: one inside the image or one of the store.
    ///
    /// Everything that works with a named bitmap asks here, so that a name means the same bitmap
    /// everywhere.
    ///
    /// - Parameters:
    ///   - records: where the store is, or would be.
    ///   - storeAlone: leave the bitmaps inside the image out.
    /// - Throws: `ambiguousBitmap` if both have one of this name. What keeps the image from being
    ///   asked: a directory of bitmaps that can't be read may have the name, so that the store is
    ///   not asked in its stead.
    public func reference(
        toBitmap name: String, records: RecordedMirror.RecordPlace, storeAlone: Bool = false
    ) throws(MirrorError) -> BitmapReference {
        guard !storeAlone, let bitmaps else { return .stored(name) }
        do throws(StorageError) {
            guard try bitmaps.contains(name) else { return .stored(name) }
        } catch {
            throw .storage(error)
        }
        do throws(BitmapStoreError) {
            guard let store = try records.existing(for: identity, .readOnly) else {
                return .image(name)
            }
            _ = try store.bitmap(name)
        } catch .noSuchBitmap {
            return .image(name)
        } catch {
            throw .store(error)
        }
        throw .ambiguousBitmap(name: name, image: path, store: records.path)
    }

    /// Changes the bitmaps in its image, which must have been opened for that.
    ///
    /// It reads as it did, but the file of the image is written. What has seen that as it was
    /// before would take it for a write to the disk.
    ///
    /// - Parameter store: where looks at the disk are kept.
    public func changeBitmaps<Result>(
        heardBy store: BitmapStore?,
        _ change: (ImageBitmaps) throws(StorageError) -> Result
    ) throws(MirrorError) -> Result {
        guard let bitmaps else { preconditionFailure("only images have bitmaps of their own") }
        let before = witness()
        let result: Result
        do throws(StorageError) { result = try change(bitmaps) } catch { throw .storage(error) }
        guard let store else { return result }
        do throws(BitmapStoreError) {
            // Of the image alone: what others write to the files below it is theirs.
            try store.renewSourceWitness(
                before, Array(freshWitness().prefix(1) + before.dropFirst()))
        } catch {
            throw .store(error)
        }
        return result
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

    /// Nil if the bitmap is not one in the image.
    ///
    /// - Throws: `.storage` for a bitmap that can't be trusted.
    init?(_ reference: BitmapReference?, of source: Disk) throws(MirrorError) {
        guard case .image(let name) = reference else { return nil }
        guard let bitmaps = source.bitmaps else {
            preconditionFailure("only images have bitmaps of their own")
        }
        self.name = name
        do throws(StorageError) {
            bits = try bitmaps.load(name)
            isRecording = try bitmaps.bitmap(name).isRecording
        } catch {
            throw .storage(error)
        }
    }
}
