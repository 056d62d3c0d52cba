internal import BlockStorage
internal import DirtyBitmap

// Bitmaps that an image keeps itself: what the store knows about their targets goes by what it saw
// of them last.

extension Transaction {
    /// Finds or adds the entry of a bitmap in an image on which a job begins, and notes its marks.
    ///
    /// - Returns: the targets that are not known any more, because the bitmap was cleared or made
    ///   anew by something that does not know of them.
    mutating func adopt(
        imageBitmap name: String, _ marks: SharedBits
    ) throws(BitmapStoreError) -> [StoredTarget] {
        var forgotten: [StoredTarget] = []
        if let index = catalog.index(of: .image(name)) {
            try requireNoJob(index)
            try recoverJobs(of: index)
            if try !reader.containsAll(of: catalog[index], marks) {
                forgotten = try view.targets(ofBitmap: catalog.id(index), catalog[index])
                _ = forget(imageBitmap: name)
            }
        }
        let base = catalog.index(of: .image(name)).map { catalog[$0] }
        let tree = try store(marks.bits, in: base)
        if let index = catalog.index(of: .image(name)) {
            catalog[index] = tree
            try addToRecords(tree, of: index)
        } else {
            guard catalog.imageBitmaps.count < Catalog.bitmapsMax else {
                throw .tooManyBitmaps(path: file.path, limit: Catalog.bitmapsMax)
            }
            let entry = ImageBitmapEntry(id: catalog.takeID(), name: name, settled: tree)
            catalog.imageBitmaps.append(entry)
        }
        return forgotten
    }

    /// Marks that the job which begins or is resumed may clear: interrupted jobs have to copy them
    /// too, and find them nowhere else. What was marked before an interrupted job began, and was
    /// written again since, can't be told from the rest.
    private mutating func addToRecords(
        _ marks: BitTree, of index: BitmapIndex
    ) throws(BitmapStoreError) {
        let id = catalog.id(index)
        for place in catalog.jobs.indices where catalog.jobs[place].bitmap == id {
            guard let marked = catalog.jobs[place].marked else { continue }
            catalog.jobs[place].marked = try merge(marks, into: marked)
        }
    }

    /// - Returns: the records of jobs that go with it.
    mutating func forget(imageBitmap name: String) -> [StoredJob] {
        guard let index = catalog.index(of: .image(name)) else { return [] }
        let dropped = dropRecords(of: index)
        let id = catalog.id(index)
        catalog.targets.removeAll { $0.bitmap == id }
        catalog.imageBitmaps.removeAll { $0.id == id }
        return dropped
    }

    /// Notes the marks of a bitmap in an image, as a job on it is resumed, in all records.
    ///
    /// - Returns: nil if there are none to add.
    ///
    /// - Throws: `bitmapRemade` if some are missing that were there.
    mutating func storeMarks(
        _ marks: SharedBits?, of job: JobEntry
    ) throws(BitmapStoreError) -> BitTree? {
        guard let index = job.bitmap.flatMap({ catalog.index(ofBitmapNumbered: $0) }),
            case .image(let place) = index, let marks
        else { return nil }
        try requireSize(marks.bits.size)
        guard try reader.containsAll(of: catalog[index], marks) else {
            throw .bitmapRemade(name: catalog.imageBitmaps[place].name)
        }
        let tree = try store(marks.bits, in: catalog[index])
        try addToRecords(tree, of: index)
        return tree
    }

    /// What a job that ends leaves to be cleared in the image by whoever has that open.
    func clearedInImage(
        by job: JobEntry, _ ending: JobEnding
    ) throws(BitmapStoreError) -> DirtyBitmap? {
        guard let index = job.bitmap.flatMap({ catalog.index(ofBitmapNumbered: $0) }),
            case .image = index, let taken = job.taken,
            Settlement(job, ending, in: catalog[index])?.after != nil
        else { return nil }
        let bits = try reader.load(taken)
        guard ending == .failure else { return bits }
        return try BitOperation.Kind.leavingOut(try reader.load(job.remaining), of: bits)
    }
}

extension BitReader {
    /// Whether a bitmap of the same granularity has all marks of a tree.
    func containsAll(of tree: BitTree, _ marks: SharedBits) throws(BitmapStoreError) -> Bool {
        guard tree.layout == BitLayout(marks.bits.geometry) else { return false }
        if tree.dirtyBytes == 0 { return true }
        var missing = try load(tree)
        try BitOperation.Kind.subtract.apply(marks.bits, to: &missing)
        return missing.isClean
    }
}
