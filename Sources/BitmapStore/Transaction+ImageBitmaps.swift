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
        var isRemade = false
        if let index = catalog.index(of: .image(name)) {
            try requireNoJob(index)
            // Before what a dead job owes is taken away: it has cleared nothing in the image.
            if try reader.containsAll(of: catalog[index], marks) {
                try recoverJobs(of: index)
            } else {
                forgotten = try view.targets(ofBitmap: catalog.id(index), catalog[index])
                _ = forget(imageBitmap: name)
                isRemade = true
            }
        }
        if catalog.index(of: .image(name)) == nil {
            if let flaw = BitmapName.flaw(in: name) { throw .invalidName(name: name, why: flaw) }
            guard catalog.imageBitmaps.count < Catalog.bitmapsMax else {
                throw .tooManyBitmaps(path: file.path, limit: Catalog.bitmapsMax)
            }
            var entry = ImageBitmapEntry(
                id: catalog.takeID(), name: name, settled: .clean(BitLayout(marks.bits.geometry)))
            entry.history.isWhole = !isRemade
            catalog.imageBitmaps.append(entry)
        }
        if let index = catalog.index(of: .image(name)) { try note(marks, of: index) }
        return forgotten
    }

    /// B := marks, and M |= marks in every record: what one job clears in the image, interrupted
    /// jobs to other targets have to copy too, and find nowhere else.
    ///
    /// Which of the marks are new since a job began can't be told: what it has copied may have been
    /// written again while it was marked.
    private mutating func note(
        _ marks: SharedBits, of index: BitmapIndex
    ) throws(BitmapStoreError) {
        let tree = try store(marks.bits, in: catalog[index])
        catalog[index] = tree
        let id = catalog.id(index)
        for place in catalog.jobs.indices where catalog.jobs[place].bitmap == id {
            precondition(!catalog.jobs[place].isOpen, "the image is read while a job works on it")
            guard let marked = catalog.jobs[place].marked else { continue }
            catalog.jobs[place].marked = try merge(tree, into: marked)
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

    /// Notes the marks of a bitmap on which an interrupted job is about to go on, if it is one in
    /// an image.
    ///
    /// - Throws: `bitmapRemade` if some are missing that were there.
    mutating func resume(
        _ index: BitmapIndex, _ marks: SharedBits?
    ) throws(BitmapStoreError) {
        guard case .image(let place) = index, let marks else {
            return try requireResumable(index)
        }
        try requireSize(marks.bits.size)
        try requireNoJob(index)
        guard try reader.containsAll(of: catalog[index], marks) else {
            throw .bitmapRemade(name: catalog.imageBitmaps[place].name)
        }
        try recoverJobs(of: index)
        try note(marks, of: index)
    }

    /// The marks of a job's bitmap, if that is one in an image.
    func settledMarks(of job: JobEntry) -> BitTree? {
        guard let index = job.bitmap.flatMap({ catalog.index(ofBitmapNumbered: $0) }),
            case .image = index
        else { return nil }
        return catalog[index]
    }

    /// What the end of a job leaves to be cleared in the image by what has that open: no more than
    /// was taken away here.
    ///
    /// - Parameter before: its bitmap's marks, as they were.
    /// - Returns: nil if there is nothing.
    func clearedInImage(
        by job: JobEntry, since before: BitTree?
    ) throws(BitmapStoreError) -> DirtyBitmap? {
        guard let before, let after = settledMarks(of: job), after != before else { return nil }
        var bits = try reader.load(before)
        try BitOperation.Kind.subtract.apply(try reader.load(after), to: &bits)
        return bits
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
