internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap

/// Marks what a job is going to write in the bitmaps that the store of the written disk keeps.
///
/// A target may be the source of other mirrors. A restore onto it changes it without any tracker,
/// so that its bitmaps have to hear of it before the first byte is written.
enum TargetMarks {
    /// - Parameter bits: what will be written; of a disk that may be smaller than the target.
    /// - Returns: the bitmaps that were marked, durably.
    /// - Throws: what is wrong with the store. A store of another disk is no reason: this disk's
    ///   bitmaps are not in it.
    static func mark(
        _ bits: borrowing DirtyBitmap, of target: Disk
    ) throws(BitmapStoreError) -> [String] {
        guard bits.dirtyBytes > 0 else { return [] }
        let path = StorePlace.path(for: target)
        let store: BitmapStore
        do throws(BitmapStoreError) {
            store = try BitmapStore.open(path, for: target.identity, access: .readWrite)
        } catch {
            switch error {
            case .notFound, .wrongDevice: return []
            default: throw error
            }
        }
        if bits.size == target.identity.size { return try store.markRecording(bits) }
        var whole = DirtyBitmap(size: target.identity.size, granularity: bits.granularity)
        let common = 0..<min(bits.size, whole.size)
        bits.forEachDirtyRun(in: common) { whole.set($0) }
        return try store.markRecording(whole)
    }
}
