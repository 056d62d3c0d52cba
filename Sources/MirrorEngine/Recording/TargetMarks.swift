internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import SystemPackage

/// Marks what a job is going to write in the bitmaps that are kept of the written disk.
///
/// A target may be the source of other mirrors. A restore onto it changes it without any tracker,
/// so that its bitmaps have to hear of it before the first byte is written, by whatever name and
/// device it goes. What leaves the disk reading as it did is no change, whatever becomes of the
/// file that it is kept in: its bitmaps are of the disk.
enum TargetMarks {
    /// Marks what is about to be written, and all of it in a bitmap that has missed a write before:
    /// the marks of now would hide that.
    ///
    /// - Parameter bits: what will be written; of a disk that may be smaller than the target.
    /// - Returns: the bitmaps that were marked, durably.
    /// - Throws: what is wrong with a store. A store of another disk is no reason: this disk's
    ///   bitmaps are not in it.
    static func begin(
        _ bits: borrowing DirtyBitmap, of target: Disk
    ) throws(BitmapStoreError) -> [String] {
        let judge = SourceFinding.judge(target)
        return try forEachStore(bits, target) {
            (store: BitmapStore, place: Place, bits: borrowing DirtyBitmap)
                throws(BitmapStoreError) -> [String] in
            try store.beginWriting(
                bits, sourceWitness: { target.witness() },
                judge: place.isOwn ? judge : Self.judgeUnseen)
        }
    }

    /// Whether the bitmaps of a device that only shares storage with the target have missed a write
    /// its own look would have to tell.
    private static func judgeUnseen(
        _ history: BitmapHistory, _ hasNewMarks: Bool, _ hasMarks: Bool
    ) -> BitmapStore.WriterFinding {
        history.look == nil || hasNewMarks ? .marked : .doubt(.sourceUnseen)
    }

    /// Marks what was written, when the job has ended: a job on such a bitmap may have taken the
    /// marks before all of it was. From now on the bitmaps see what others write.
    ///
    /// - Parameters:
    ///   - bits: as for `begin`; all, if something else may have written, too.
    ///   - before: the target's files before the first write. What is written to one that the job
    ///     only reads is no work of the job.
    static func end(
        _ bits: borrowing DirtyBitmap, of target: Disk, _ before: [WriteWitness]
    ) throws(BitmapStoreError) {
        _ = try forEachStore(bits, target) {
            (store: BitmapStore, place: Place, bits: borrowing DirtyBitmap)
                throws(BitmapStoreError) -> [String] in
            let looks = target.witnessAfterWriting(before, target.freshWitness())
            // What can't be asked any more may be as the job has left it.
            let found = target.witnessIfReached().isIncomplete ? nil : looks
            let isBlind = target.devices.contains { $0.blindnessToWriters != nil }
            return try store.endWriting(
                bits, found: place.isOwn ? found : found.map { _ in [] },
                doubt: isBlind ? .sourceUnseen : nil)
        }
    }

    /// - Parameter body: called with a store, where that is, and the bits as they lie in its disk.
    private static func forEachStore(
        _ bits: borrowing DirtyBitmap, _ target: Disk,
        _ body: (BitmapStore, Place, borrowing DirtyBitmap) throws(BitmapStoreError) -> [String]
    ) throws(BitmapStoreError) -> [String] {
        guard bits.dirtyBytes > 0, !target.keepsContent else { return [] }
        var marked: [String] = []
        for place in places(of: target) {
            guard let store = try store(at: place, .readWrite) else { continue }
            let size = place.identity.size
            if place.offset == 0, bits.size == size {
                marked += try body(store, place, bits)
                continue
            }
            var whole = DirtyBitmap(size: size, granularity: bits.granularity)
            bits.forEachDirtyRun(in: 0..<max(0, min(bits.size, size - place.offset))) {
                whole.set($0.lowerBound + place.offset..<$0.upperBound + place.offset)
            }
            marked += try body(store, place, whole)
        }
        return marked
    }

    /// Whether they could be marked, as far as that is seen without a change.
    ///
    /// - Returns: a store of them, which is for a disk of this size; nil: there is none.
    @discardableResult
    static func check(_ target: Disk) throws(BitmapStoreError) -> FilePath? {
        guard !target.keepsContent else { return nil }
        var found: FilePath?
        for place in places(of: target) {
            guard let store = try store(at: place, .readOnly) else { continue }
            _ = try store.bitmaps()
            found = found ?? place.store
        }
        return found
    }

    /// A disk was written and reads as it did: what has seen its files as they were before would
    /// take that for a change.
    ///
    /// - Parameters:
    ///   - earlier: its files before the first write.
    ///   - found: its files after the last one.
    static func renewSourceWitness(
        of target: Disk, _ earlier: [WriteWitness], _ found: [WriteWitness]
    ) throws(BitmapStoreError) {
        for place in places(of: target) {
            try store(at: place, .readWrite)?.renewSourceWitness(earlier, found)
        }
    }

    /// Where bitmaps of the target may be kept.
    private struct Place {
        let store: FilePath
        let identity: DeviceIdentity
        /// Where the first byte of the target lies in the disk of the store.
        let offset: Int64
        /// The store is of the device or file that is written, not of another that shares storage
        /// with it, whose times and counters are others.
        let isOwn: Bool
    }

    private static func places(of target: Disk) -> [Place] {
        let own = Place(
            store: StorePlace.path(for: target), identity: target.identity, offset: 0,
            isOwn: true)
        // The disk in an image is another than the bytes of its file.
        let aliases = target.device.aliases().filter { $0.offset == 0 || target.image == nil }
        return [own]
            + aliases.map { alias in
                let identity = target.image == nil ? alias.identity : target.identity
                let path = StorePlace.path(
                    kind: alias.kind, resolvedPath: alias.resolvedPath, identity: identity)
                // Another name of the same file is no other file.
                return Place(
                    store: path, identity: identity, offset: alias.offset,
                    isOwn: alias.kind == .image && target.device.kind == .image)
            }
    }

    private static func store(
        at place: Place, _ access: Access
    ) throws(BitmapStoreError) -> BitmapStore? {
        do throws(BitmapStoreError) {
            return try BitmapStore.open(place.store, for: place.identity, access: access)
        } catch {
            switch error {
            case .notFound, .wrongDevice: return nil
            default: throw error
            }
        }
    }
}
