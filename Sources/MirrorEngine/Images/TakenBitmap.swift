internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import QCOW2

/// A bitmap in the image of a source, as it was when a job began to work on it.
///
/// The image is open for writing by this process alone, so that nobody marks anything in it
/// meanwhile: what was taken can be cleared afterwards.
final class TakenBitmap: Sendable {
    let name: String
    let bits: DirtyBitmap
    private let bitmaps: ImageBitmaps
    private let mode: BitmapMode

    /// Nil if the request names no bitmap of the image.
    ///
    /// - Throws: `.storage` for a bitmap that can't be trusted.
    convenience init?(
        _ request: RecordedMirror.Request, of source: Disk
    ) throws(MirrorError) {
        guard !request.ignoresImageBitmaps, let name = request.bitmap,
            let bitmaps = source.bitmaps, source.hasBitmap(name)
        else { return nil }
        do throws(StorageError) {
            self.init(
                name: name, bits: try bitmaps.load(name), bitmaps: bitmaps,
                mode: request.bitmapMode ?? .onSuccess)
        } catch {
            throw .storage(error)
        }
    }

    private init(
        name: String, bits: consuming DirtyBitmap, bitmaps: ImageBitmaps, mode: BitmapMode
    ) {
        self.name = name
        self.bits = bits
        self.bitmaps = bitmaps
        self.mode = mode
    }

    /// Makes of the bitmap what its mode says.
    ///
    /// - Parameter undone: what the target is not known to hold, after a failure; nil: nothing is
    ///   known.
    /// - Returns: whether anything was cleared.
    func settle(
        hasSucceeded: Bool, undone: consuming DirtyBitmap?
    ) throws(StorageError) -> Bool {
        switch mode {
        case .never: return false
        case .onSuccess:
            guard hasSucceeded else { return false }
            try bitmaps.subtract(name, bits)
        case .always:
            if hasSucceeded {
                try bitmaps.subtract(name, bits)
                return true
            }
            guard let undone = undone.take() else { return false }
            guard let done = Self.done(of: bits, without: undone) else { return false }
            try bitmaps.subtract(name, done)
        }
        return true
    }

    /// What of a bitmap has been done, in its own granules: none of which a part is undone.
    ///
    /// - Returns: nil if they are not of the same size.
    static func done(
        of bits: borrowing DirtyBitmap, without undone: borrowing DirtyBitmap
    ) -> DirtyBitmap? {
        var left = DirtyBitmap(size: bits.size, granularity: bits.granularity)
        var done = bits.copy()
        do throws(DirtyBitmapError) {
            // Merging rounds outward; subtracting what is finer would round inward.
            try left.merge(undone)
            try done.subtract(left)
        } catch {
            return nil
        }
        return done
    }
}

extension Disk {
    /// Whether the image itself keeps a bitmap of this name.
    public func hasBitmap(_ name: String) -> Bool {
        (try? bitmaps?.contains(name)) ?? false
    }
}
