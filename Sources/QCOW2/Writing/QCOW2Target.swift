package import BlockStorage
internal import DirtyBitmap
internal import Synchronization
internal import SystemPackage

/// The map of a qcow2 image that is written.
///
/// Clusters are taken when their place is asked for, and the image leads to them only when all
/// their bytes have arrived and were flushed. Until the final commit the file may be longer than it
/// has to be.
///
/// Whoever fails to write a part of a cluster that had its place as a whole says so by `lost`, and
/// has to count all of it, a `unit`, as not written.
package final class QCOW2Target: TargetMap {
    package let name: String
    package let size: Int64
    package let endpoints: [Endpoint]
    package let alignment: Int
    package let unit: Int64
    package let startsZero: Bool

    private let device: StorageDevice?
    private let writer: ImageWriter
    private let changes: ChangedBytes?
    private let state: Mutex<TargetState>
    /// Held by whoever makes changes last, through all flushes, and taken before `state`. Who asks
    /// for a place does not need it, unless too much has changed in memory.
    private let committing = Mutex<Void>(())
    /// The file never becomes shorter than it was.
    private let initialLength: Int64
    /// Where the page cache begins to be used for data, because the disk ends off a block.
    private let tailStart: Int64

    private static let pageSize: Int64 = 4096

    /// The map of an image on a device that is open for writing.
    ///
    /// - Parameters:
    ///   - content: what the image reads as now; it may be missing if the image has neither a
    ///     backing file nor compressed clusters.
    ///   - isNew: whether the image was just made, and has no backing file.
    ///   - bitmaps: who keeps the bitmaps in the image true; without it they are given up.
    ///   - size: how many bytes of the disk are going to be written, nil for all of them; more than
    ///     it has if the image has made room for that and grows afterwards.
    package convenience init(
        _ device: StorageDevice, _ writer: ImageWriter, content: (any OldContent)? = nil,
        isNew: Bool = false, bitmaps: (any ForeignBitmaps)? = nil, size: Int64? = nil
    ) throws(StorageError) {
        let places = TargetPlaces(
            device: device, name: device.path.string,
            endpoints: device.endpoints,
            alignment: device.geometry.offsetAlignment)
        try self.init(
            places, writer, content: content, isNew: isNew, bitmaps: bitmaps, size: size)
    }

    /// Refuses an image that can't be a target.
    package static func requireOwnData(_ writer: ImageWriter) throws(StorageError) {
        guard writer.header.incompatible.contains(.dataFile) else { return }
        throw .image(
            ImageProblem(
                .unsupported, writer.file.path, at: 72,
                "an image whose data is in a file of its own can't be a target",
                remedy: "`qemu-img convert` makes an image without one."))
    }

    init(
        _ places: TargetPlaces, _ writer: ImageWriter, content: (any OldContent)? = nil,
        isNew: Bool = false, bitmaps: (any ForeignBitmaps)? = nil, size: Int64? = nil
    ) throws(StorageError) {
        try Self.requireOwnData(writer)
        let header = writer.header
        device = places.device
        name = places.name
        endpoints = places.endpoints
        self.writer = writer
        // Whoever writes a disk that is smaller ends off the block perhaps where this one does not.
        let written = size ?? header.size
        let size = max(written, header.size)
        self.size = size
        unit = header.clusterSize
        startsZero = isNew && header.backingFile == nil
        let state = try TargetState(writer: writer, content: content, size: size)
        // A page of the cache must not have a cluster's bytes and those of another, or of a table.
        let isDirect =
            state.geometry.pieceSize >= max(Self.pageSize, Int64(places.alignment))
        alignment = isDirect ? places.alignment : 1
        tailStart =
            isDirect
            ? written % Int64(alignment) == 0 ? size : written.roundedDown(to: Self.pageSize) : 0
        self.state = Mutex(state)
        changes = bitmaps.map { ChangedBytes($0, size: size) }
        initialLength = try writer.file.length()
    }

    package var controlFile: Int { 1 }

    package var zeroesPlaces: Bool { false }

    package func sizeChange() throws(StorageError) -> SizeChange? {
        guard let device, device.kind == .disk else { return nil }
        let now = try device.currentSize()
        return now < device.geometry.size ? SizeChange(from: device.geometry.size, to: now) : nil
    }

    package func readsAsZero(_ range: Range<Int64>) -> Bool {
        state.withLock { (try? $0.readsAsZero(range)) ?? false }
    }

    package func place(at offset: Int64, limit: Int64) throws(StorageError) -> HostExtent {
        precondition(offset >= 0 && offset < limit && limit <= size)
        let isDirect = offset < tailStart
        let range = offset..<(isDirect ? min(limit, tailStart) : limit)
        let place = try change { (state) throws(StorageError) in
            try state.place(at: offset, limit: range.upperBound)
        }
        changes?.add(offset..<place.end)
        return HostExtent(
            file: isDirect ? 0 : 1, hostOffset: place.host, length: place.end - offset,
            alignment: isDirect ? alignment : 1)
    }

    package func zeroInMap(_ range: Range<Int64>) throws(StorageError) -> Int64 {
        let done = try change { (state) throws(StorageError) in try state.zero(range) }
        if done > 0 { changes?.add(range.lowerBound..<(range.lowerBound + done)) }
        return done
    }

    /// Changes what is in memory, after what has to be before a change.
    ///
    /// - Complexity: takes the lock of `state` once, unless too much has changed.
    private func change<Result: Sendable>(
        _ body: (inout TargetState) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        try writer.requireSound()
        while true {
            let result = try state.withLock { (state) throws(StorageError) -> Result? in
                try begin(&state)
                return state.isOverfull ? nil : try body(&state)
            }
            if let result { return result }
            try commitOverfull()
        }
    }

    /// What has to be before the first change.
    private func begin(_ state: inout TargetState) throws(StorageError) {
        guard !state.hasStarted else { return }
        try writer.prepare(keepsBitmaps: changes != nil)
        try changes?.bitmaps.beforeFirstChange()
        state.hasStarted = true
    }

    /// Makes all changes last, if there are too many in memory.
    private func commitOverfull() throws(StorageError) {
        try committing.withLock { (_) throws(StorageError) in
            // Somebody may have written it meanwhile.
            let batch = try state.withLock { (state) throws(StorageError) -> CommitBatch? in
                guard state.isOverfull else { return nil }
                state.seal()
                return try state.takeSealed()
            }
            try write(batch, isFlushed: false)
        }
    }

    /// Makes a batch last.
    ///
    /// - Precondition: `committing` is held.
    /// - Parameter isFlushed: whether what its tables lead to was flushed after it was sealed.
    private func write(_ batch: CommitBatch?, isFlushed: Bool) throws(StorageError) {
        guard let batch else { return }
        do throws(StorageError) {
            if !isFlushed { try writer.file.sync() }
            try batch.write(by: writer)
        } catch {
            state.withLock { $0.putBack(batch) }
            throw error
        }
        try state.withLock { (state) throws(StorageError) in try state.noteCommitted(batch) }
    }

    package func wrote(_ range: Range<Int64>) { state.withLock { $0.wrote(range) } }

    /// What is widened is all of the clusters that were placed as a whole and had not arrived as a
    /// whole; they get other places. Writes to them that are still on their way arrive nowhere:
    /// none of them may be reported by `wrote` once the bytes have been placed again.
    package func lost(_ range: Range<Int64>) -> Range<Int64> {
        precondition(range.lowerBound >= 0 && range.upperBound <= size)
        return state.withLock { $0.lost(range) }
    }

    package func seal() { state.withLock { $0.seal() } }

    package func commit(isFinal: Bool) throws(StorageError) {
        try committing.withLock { (_) throws(StorageError) in
            // Also with nothing sealed: whoever hears no error takes what he wrote for safe.
            try writer.requireSound()
            guard state.withLock({ $0.hasStarted }) else { return }
            guard isFinal else {
                let batch = try state.withLock { (state) throws(StorageError) in
                    try state.takeSealed()
                }
                return try write(batch, isFlushed: true)
            }
            do throws(StorageError) {
                try commitAll()
            } catch {
                // Now, and not later: how long the file is when the job ends is recorded.
                try? writer.truncate(floor: initialLength)
                throw error
            }
        }
    }

    private func commitAll() throws(StorageError) {
        let isFlushed = try giveUpWaiting()
        let batch = try state.withLock { (state) throws(StorageError) in try state.takeSealed() }
        try write(batch, isFlushed: isFlushed)
        try finish()
    }

    /// Seals what has changed since the last flush, once nothing more will come.
    ///
    /// - Returns: whether all that was sealed was flushed after it was written.
    private func giveUpWaiting() throws(StorageError) -> Bool {
        try state.withLock { (state) throws(StorageError) in
            let hasWritten = try state.giveUpWaiting()
            guard hasWritten || !state.dirtyTables.isEmpty else { return true }
            state.seal()
            return false
        }
    }

    /// Gives back what is not needed, when all is committed and nobody asks for a place any more.
    private func finish() throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.releaseAbandoned()
            try state.releaseReserved()
            state.checkInvariants()
        }
        try writer.flushRefcounts()
        try writer.file.sync()
        try changes?.finish()
        try writer.truncate(floor: initialLength)
        try writer.file.sync()
    }
}

/// Where the bytes of a target may be written.
struct TargetPlaces {
    /// Nil in tests that have no file.
    var device: StorageDevice?
    let name: String
    /// The one for whole blocks, and the one for anything.
    let endpoints: [Endpoint]
    let alignment: Int
}
