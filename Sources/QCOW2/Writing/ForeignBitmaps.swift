package import BlockStorage
package import DirtyBitmap
internal import Synchronization

/// Keeps the bitmaps true that others have put into an image that is written.
package protocol ForeignBitmaps: Sendable {
    /// Called once, before anything of the disk changes.
    func beforeFirstChange() throws(StorageError)
    /// Called once, when everything that was changed is on stable storage.
    func afterLastChange(changed: borrowing DirtyBitmap) throws(StorageError)
}

/// Which bytes of a disk a job has changed, for the bitmaps in its image.
final class ChangedBytes: Sendable {
    let bitmaps: any ForeignBitmaps
    private let changed: Mutex<DirtyBitmap>

    init(_ bitmaps: any ForeignBitmaps, size: Int64) {
        self.bitmaps = bitmaps
        changed = Mutex(DirtyBitmap(size: size, granularity: Granularity(forSize: size)))
    }

    func add(_ range: Range<Int64>) { changed.withLock { $0.set(range) } }

    func finish() throws(StorageError) {
        let all = changed.withLock { $0.copy() }
        try bitmaps.afterLastChange(changed: all)
    }
}
