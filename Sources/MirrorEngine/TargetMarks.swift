internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// Marks what a job is going to write in the bitmaps that are kept of the written disk.
///
/// A target may be the source of other mirrors. A restore onto it changes it without any tracker,
/// so that its bitmaps have to hear of it before the first byte is written, by whatever name and
/// device it goes.
enum TargetMarks {
    /// - Parameter bits: what will be written; of a disk that may be smaller than the target.
    /// - Returns: the bitmaps that were marked, durably.
    /// - Throws: what is wrong with a store. A store of another disk is no reason: this disk's
    ///   bitmaps are not in it.
    static func mark(
        _ bits: borrowing DirtyBitmap, of target: Disk
    ) throws(BitmapStoreError) -> [String] {
        guard bits.dirtyBytes > 0 else { return [] }
        var marked = try mark(bits, at: 0, StorePlace.path(for: target), target.identity)
        for alias in target.device.aliases() {
            // The disk in an image is another than the bytes of its file.
            guard alias.offset == 0 || target.image == nil else { continue }
            let identity = target.image == nil ? alias.identity : target.identity
            let path = StorePlace.path(
                kind: alias.kind, resolvedPath: alias.resolvedPath, identity: identity)
            marked += try mark(bits, at: alias.offset, path, identity)
        }
        return marked
    }

    /// - Parameter offset: where the first byte of `bits` lies in the disk of the store.
    private static func mark(
        _ bits: borrowing DirtyBitmap, at offset: Int64, _ path: FilePath,
        _ identity: DeviceIdentity
    ) throws(BitmapStoreError) -> [String] {
        let store: BitmapStore
        do throws(BitmapStoreError) {
            store = try BitmapStore.open(path, for: identity, access: .readWrite)
        } catch {
            switch error {
            case .notFound, .wrongDevice: return []
            default: throw error
            }
        }
        if offset == 0, bits.size == identity.size { return try store.markRecording(bits) }
        var whole = DirtyBitmap(size: identity.size, granularity: bits.granularity)
        let common = 0..<max(0, min(bits.size, whole.size - offset))
        bits.forEachDirtyRun(in: common) {
            whole.set($0.lowerBound + offset..<$0.upperBound + offset)
        }
        return try store.markRecording(whole)
    }
}
