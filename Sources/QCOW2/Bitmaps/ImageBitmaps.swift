public import BlockStorage
public import DirtyBitmap
internal import Synchronization
internal import SystemPackage

/// The named bitmaps in a qcow2 image, as QEMU keeps them there.
///
/// Each change is whole or not at all, also if the process dies or the power goes. Any thread may
/// call it; what keeps other processes away from the image is the business of whoever opened it.
public final class ImageBitmaps: Sendable {
    let file: any ImageFile
    let writer: (any MetadataWriter)?
    private let headerAtOpening: Header
    /// The bitmaps that `markInUse` has marked; nil: it wasn't called, or its end was.
    let recording = Mutex<[[UInt8]]?>(nil)

    /// The bitmaps of an image that is only read.
    package init(_ file: any ImageFile, _ header: Header) {
        self.file = file
        headerAtOpening = header
        writer = nil
    }

    /// The bitmaps of an image that is written through `writer`.
    package init(_ writer: any MetadataWriter) {
        file = writer.file
        headerAtOpening = writer.header
        self.writer = writer
    }

    var header: Header { writer?.header ?? headerAtOpening }

    // MARK: Reading

    /// Every bitmap and what is wrong with some.
    ///
    /// - Throws: only what the system says; a broken directory is in the list's problems.
    /// - Complexity: reads all bits, and keeps none.
    public func list() throws(StorageError) -> ImageBitmapList {
        try recording.withLock { own throws(StorageError) in
            let header = header
            let directory = try BitmapDirectory.read(header, file)
            var list = ImageBitmapList()
            if directory.isStale { list.notes.append(BitmapDirectory.staleNote) }
            for entry in directory.entries {
                do throws(StorageError) {
                    let isOwn = own?.contains(entry.name) ?? false
                    list.bitmaps.append(try describe(entry, header, isOwn: isOwn))
                } catch .image(let problem) {
                    list.problems.append(problem)
                } catch {
                    throw error
                }
            }
            if let flaw = directory.flaw { list.problems.append(flaw) }
            return list
        }
    }

    func describe(
        _ entry: BitmapEntry, _ header: Header, isOwn: Bool
    ) throws(StorageError) -> ImageBitmap {
        if let flaw = entry.flaw { throw .image(flaw) }
        guard let granularity = entry.granularity else {
            preconditionFailure("an entry without a flaw has a granularity")
        }
        let isInconsistent = entry.isInUse && !isOwn
        var granules = Int(
            BitmapExtent(header, granularityBits: entry.granularityBits).granuleCount)
        var bytes = header.size
        if !isInconsistent {
            (granules, bytes) = try BitmapBits(entry: entry, header: header, file: file)
                .count(granularity)
        }
        return ImageBitmap(
            name: String(decoding: entry.name, as: UTF8.self), size: header.size,
            granularity: granularity, isRecording: entry.isEnabled,
            isInconsistent: isInconsistent, dirtyCount: granules, dirtyBytes: bytes)
    }

    /// A copy of a bitmap as it is now.
    ///
    /// - Throws: an `ImageProblem`: `missing`; `refused` if it is inconsistent, or recorded in by
    ///   this very object; `malformed` or `unsupported` if it can't be read.
    /// - Complexity: O(words), 512 MiB of memory at most.
    public func load(_ name: String) throws(StorageError) -> DirtyBitmap {
        let header = header
        let directory = try BitmapDirectory.read(header, file)
        guard let index = directory.indices(of: Array(name.utf8)).first else {
            if let flaw = directory.flaw { throw .image(flaw) }
            throw .image(
                .noBitmap(file.path, name: BitmapEntry.shown(Array(name.utf8)), among: directory))
        }
        let entry = directory.entries[index]
        let granularity = try entry.requireUsable(file.path)
        return try BitmapBits(entry: entry, header: header, file: file).load(granularity)
    }

    // MARK: Changing

    /// Makes several changes together, or none if `body` throws.
    ///
    /// If this throws after the changes were made true, clusters of the former bitmaps stay
    /// allocated until `qemu-img check -r leaks`.
    ///
    /// - Returns: sentences for the user.
    /// - Throws: what `body` throws; an `ImageProblem` that is `malformed` if the directory is
    ///   broken, and `refused` between `markInUse` and its end.
    @discardableResult
    public func change(
        _ body: (inout BitmapTransaction) throws(StorageError) -> Void
    ) throws(StorageError) -> [String] {
        try recording.withLock { own throws(StorageError) in
            let writer = try requireIdle(own)
            var transaction = try BitmapTransaction(writer.header, file)
            try body(&transaction)
            return try transaction.commit(writer)
        }
    }

    /// See `BitmapTransaction.add`.
    public func add(
        _ name: String, granularity: Granularity = .default, disabled: Bool = false,
        bits: borrowing DirtyBitmap? = nil
    ) throws(StorageError) {
        try change { transaction throws(StorageError) in
            try transaction.add(name, granularity: granularity, disabled: disabled, bits: bits)
        }
    }

    /// See `BitmapTransaction.remove`.
    ///
    /// - Returns: sentences for the user.
    @discardableResult
    public func remove(_ name: String) throws(StorageError) -> [String] {
        try change { transaction throws(StorageError) in try transaction.remove(name) }
    }

    /// See `BitmapTransaction.clear`.
    public func clear(_ name: String) throws(StorageError) {
        try change { transaction throws(StorageError) in try transaction.clear(name) }
    }

    /// See `BitmapTransaction.setRecording`.
    public func setRecording(_ name: String, _ isRecording: Bool) throws(StorageError) {
        try change { transaction throws(StorageError) in
            try transaction.setRecording(name, isRecording)
        }
    }

    /// See `BitmapTransaction.merge(into:from:)`.
    public func merge(into name: String, from names: [String]) throws(StorageError) {
        try change { transaction throws(StorageError) in
            try transaction.merge(into: name, from: names)
        }
    }

    /// See `BitmapTransaction.merge(into:bits:)`.
    public func merge(into name: String, bits: borrowing DirtyBitmap) throws(StorageError) {
        try change { transaction throws(StorageError) in
            try transaction.merge(into: name, bits: bits)
        }
    }

    /// See `BitmapTransaction.store`.
    public func store(_ name: String, _ bits: borrowing DirtyBitmap) throws(StorageError) {
        try change { transaction throws(StorageError) in try transaction.store(name, bits) }
    }

    /// See `BitmapTransaction.subtract`.
    public func subtract(_ name: String, _ bits: borrowing DirtyBitmap) throws(StorageError) {
        try change { transaction throws(StorageError) in try transaction.subtract(name, bits) }
    }

    /// Removes every bitmap, also from a directory that is broken or out of date.
    ///
    /// - Returns: sentences for the user.
    @discardableResult
    public func removeAll() throws(StorageError) -> [String] {
        try recording.withLock { own throws(StorageError) in
            let writer = try requireIdle(own)
            let header = writer.header
            guard header != header.withoutBitmaps else { return [] }
            let directory = try BitmapDirectory.read(header, file)
            var reclaim = BitmapReclaim(header, file)
            let isSound = directory.flaw == nil && !directory.isStale
            if isSound {
                try reclaim.drop(directory.entries)
                reclaim.drop(directory)
            }
            try writer.update(header.withoutBitmaps)
            let isAll = try reclaim.free(writer) && isSound
            return isAll ? [] : [BitmapTransaction.leakNote]
        }
    }

    private func requireIdle(_ own: [[UInt8]]?) throws(StorageError) -> any MetadataWriter {
        guard own == nil else {
            throw .image(
                ImageProblem(
                    .refused, file.path, "its bitmaps are being recorded in",
                    remedy: "Wait until the disk is no longer written."))
        }
        return try requireWriter()
    }

    func requireWriter() throws(StorageError) -> any MetadataWriter {
        guard let writer else {
            throw .image(
                ImageProblem(
                    .refused, file.path, "it was opened for reading only",
                    remedy: "Open it for writing to change its bitmaps."))
        }
        return writer
    }
}
