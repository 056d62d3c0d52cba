package import BlockStorage
internal import Synchronization
internal import SystemPackage

/// An image that is open for writing: its header and its refcounts.
///
/// Refcounts are kept exact also where the image allows them to be lazy, so that the image never
/// has to be marked as dirty.
package final class ImageWriter: MetadataWriter {
    private let latched: LatchedFile
    let state: Mutex<WriterState>

    /// Opens an image, and checks that its refcounts and its tables agree: none is written without
    /// that. Nothing is written before the first change.
    ///
    /// - Parameters:
    ///   - growth: for data, a file grows in steps of so many bytes: a direct write that makes its
    ///     file longer waits for all others.
    ///   - brokenBitmaps: what becomes of an image one of whose bitmaps can't be read.
    /// - Throws: `ImageProblem.refused` if the image is marked as dirty or corrupt, or if writing
    ///   it would harm what is in it.
    /// - Complexity: reads all tables.
    package init(
        _ file: any ImageFile, _ header: Header, growth: Int64 = 64 << 20,
        brokenBitmaps: BrokenBitmaps = .refused
    ) throws(StorageError) {
        try Self.requireClean(header, file.path)
        let file = LatchedFile.over(file)
        var refcounts = try Refcounts(file: file, header: header)
        var check = try ImageCheck(header, file, refcounts)
        try check.run(brokenBitmaps: brokenBitmaps)
        try Self.occupyTables(of: header, file, &refcounts)
        latched = file
        state = Mutex(
            WriterState(header: header, refcounts: refcounts, file: file, growth: growth))
    }

    /// What to make of a bitmap that can't be read.
    package enum BrokenBitmaps: Sendable {
        /// The disk in the image is going to be written, and its bitmaps with it.
        case refused
        /// Only bitmaps are going to be changed: a broken one may be what is removed.
        case passed
    }

    private static func requireClean(_ header: Header, _ path: FilePath) throws(StorageError) {
        guard !header.incompatible.contains(.corrupt) else {
            throw .image(
                ImageProblem(
                    .refused, path, at: 72, "the image is marked as corrupt",
                    remedy: "Run `qemu-img check -r all \(path)` first."))
        }
        guard !header.incompatible.contains(.dirty) else {
            throw .image(
                ImageProblem(
                    .refused, path, at: 72,
                    "the image was not closed by whoever wrote it last, and is marked as dirty",
                    remedy: "Run `qemu-img check -r all \(path)` first."))
        }
    }

    /// Notes the L1 table and what it refers to, so that nothing of it can be taken for free.
    private static func occupyTables(
        of header: Header, _ file: any ImageFile, _ refcounts: inout Refcounts
    ) throws(StorageError) {
        guard header.l1EntryCount > 0 else { return }
        refcounts.occupy(
            offset: header.l1Offset, clusters: header.clusters(forEntries: header.l1EntryCount))
        for entry in try L1Table.read(of: header, in: file, strictness: .writing)
        where entry != .none {
            refcounts.occupy(offset: entry.offset, clusters: 1)
        }
    }

    /// The file, to be changed through nothing else: what it loses once is lost for good.
    package var file: any ImageFile { latched }

    /// Throws what failed to come to the file, if anything did.
    func requireSound() throws(StorageError) { try latched.requireSound() }

    package var header: Header { state.withLock { $0.header } }

    package func allocate(clusters: Int) throws(StorageError) -> Int64 {
        try state.withLock { (state) throws(StorageError) in
            try state.prepare()
            let range = try state.refcounts.allocate(exactly: clusters, &state.header)
            do throws(StorageError) {
                try state.refcounts.flush()
            } catch {
                // There may be no space for the counts: then nobody has the clusters.
                try state.refcounts.release(range)
                throw error
            }
            try file.sync()
            return range.lowerBound << Int64(state.header.clusterBits)
        }
    }

    package func free(offset: Int64, clusters: Int) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.refcounts.release(state.header.clusters(at: offset, count: clusters))
            try state.refcounts.flush()
        }
    }

    package func update(_ header: Header) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.replaceHeader(header)
        }
    }

    /// To be called before the first change: takes the marks off that say that what only others
    /// know of is up to date.
    ///
    /// - Parameter keepsBitmaps: whether somebody keeps the bitmaps in the image true.
    func prepare(keepsBitmaps: Bool) throws(StorageError) {
        try state.withLock { (state) throws(StorageError) in
            try state.prepare(keepsBitmaps: keepsBitmaps)
        }
    }
}

/// What `ImageWriter` protects.
struct WriterState: Sendable {
    var header: Header
    var refcounts: Refcounts
    let file: any ImageFile
    let growth: Int64

    mutating func prepare(keepsBitmaps: Bool = true) throws(StorageError) {
        var changed = header
        changed.autoclear.formIntersection(.known)
        // It says something of a file that there is not.
        if !header.incompatible.contains(.dataFile) { changed.autoclear.remove(.rawDataFile) }
        if !keepsBitmaps { changed.autoclear.remove(.bitmaps) }
        if changed != header { try replaceHeader(changed) }
    }

    mutating func replaceHeader(_ new: Header) throws(StorageError) {
        let bytes = try new.encoded(for: file.path)
        try file.sync()
        try file.write(bytes, at: 0)
        try file.sync()
        header = new
    }
}
