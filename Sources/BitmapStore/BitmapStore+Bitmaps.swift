public import BlockStorage
public import DirtyBitmap

extension BitmapStore {
    /// Every bitmap, in the order in which they were added.
    public func bitmaps() throws(BitmapStoreError) -> [StoredBitmap] {
        try look { view throws(BitmapStoreError) in
            var result: [StoredBitmap] = []
            for entry in view.catalog.bitmaps { result.append(try view.describe(entry)) }
            return result
        }
    }

    /// One bitmap by its name.
    ///
    /// - Throws: `noSuchBitmap`.
    public func bitmap(_ name: String) throws(BitmapStoreError) -> StoredBitmap {
        try look { view throws(BitmapStoreError) in
            guard let index = view.catalog.index(ofBitmap: name) else {
                throw view.noSuchBitmap(name)
            }
            return try view.describe(view.catalog.bitmaps[index])
        }
    }

    /// Adds a bitmap, with its marks: it is never there without them.
    ///
    /// - Parameters:
    ///   - bits: what is dirty, of any granularity; nil: nothing.
    ///   - sourceWitness: looks at the source's files; see `mark`.
    /// - Throws: `nameTaken`, `invalidName`, `tooManyBitmaps`, `sizesDiffer`; `bits` if there would
    ///   be too many.
    public func add(
        _ name: String, granularity: Granularity = .default, disabled: Bool = false,
        bits: borrowing DirtyBitmap? = nil, sourceWitness: () -> [WriteWitness] = { [] }
    ) throws(BitmapStoreError) {
        if let flaw = BitmapName.flaw(in: name) { throw .invalidName(name: name, why: flaw) }
        let marks = SharedBits(copying: bits)
        try transact { transaction throws(BitmapStoreError) in
            guard transaction.catalog.index(ofBitmap: name) == nil else {
                throw .nameTaken(name: name, path: path)
            }
            guard transaction.catalog.bitmaps.count < Catalog.bitmapsMax else {
                throw .tooManyBitmaps(path: path, limit: Catalog.bitmapsMax)
            }
            var tree = BitTree.clean(try transaction.layout(granularity))
            if let marks {
                try transaction.requireSize(marks.bits.size)
                tree = try transaction.merge(marks.bits, into: tree)
            }
            let id = transaction.catalog.takeID()
            transaction.catalog.bitmaps.append(
                BitmapEntry(
                    id: id, name: name, state: disabled ? .disabled : .recording,
                    createdAt: transaction.now, bits: tree))
            transaction.noteMarks(transaction.catalog.bitmaps.count - 1, sourceWitness())
        }
    }

    /// Removes a bitmap, whatever its state, and with it what is known of its targets.
    ///
    /// - Returns: the records of jobs that could have been resumed, and are gone with it.
    /// - Throws: `noSuchBitmap`, `busy`.
    @discardableResult
    public func remove(_ name: String) throws(BitmapStoreError) -> [StoredJob] {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.index(of: name)
            try transaction.requireIdle(index)
            try transaction.requireUntracked(index)
            let dropped = transaction.dropRecords(of: .stored(index))
            let id = transaction.catalog.bitmaps.remove(at: index).id
            transaction.catalog.targets.removeAll { $0.bitmap == id }
            return dropped
        }
    }

    /// Marks everything clean. What was marked, the bitmap's targets lack still: the next job to
    /// each of them copies it.
    ///
    /// - Returns: the records of jobs that could have been resumed, and are gone with the bits.
    /// - Throws: `noSuchBitmap`, `busy`, `inconsistent`.
    @discardableResult
    public func clear(_ name: String) throws(BitmapStoreError) -> [StoredJob] {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.idleIndex(of: name)
            let dropped = transaction.dropRecords(of: .stored(index))
            let bits = transaction.catalog.bitmaps[index].bits
            if bits.dirtyBytes > 0 {
                transaction.noteLoss(ofBitmap: transaction.catalog.bitmaps[index].id)
            }
            try transaction.addToLacks(bits, of: .stored(index))
            transaction.catalog.bitmaps[index].bits = .clean(bits.layout)
            return dropped
        }
    }

    /// Enables or disables a bitmap: whether it takes marks. Records of interrupted jobs say from
    /// then on that it took none for a time. If the source was written in that time, all targets of
    /// the bitmap lack everything when it is enabled again.
    ///
    /// - Parameter sourceWitness: the source's files now; empty: nobody knows.
    /// - Throws: `noSuchBitmap`, `busy`, `inconsistent`.
    public func setRecording(
        _ name: String, _ isRecording: Bool, sourceWitness: [WriteWitness] = []
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.idleIndex(of: name)
            if !isRecording { try transaction.requireUntracked(index) }
            let wasRecording = transaction.catalog.bitmaps[index].state == .recording
            guard wasRecording != isRecording else { return }
            transaction.catalog.bitmaps[index].state = isRecording ? .recording : .disabled
            transaction.noteRecording(.stored(index), isRecording, sourceWitness)
        }
    }

    /// Marks ranges dirty, also while a job works with the bitmap.
    ///
    /// - Parameters:
    ///   - ranges: bytes of the disk; they may overlap and needn't be sorted.
    ///   - sourceWitness: looks at the source's files: a job on an older state of it (a snapshot)
    ///     is refused then. It is called while the store is locked, and must not call it.
    /// - Throws: `noSuchBitmap`, `disabled`, `inconsistent`, `rangeOutside`; nothing is marked
    ///   then.
    /// - Complexity: O(pages touched).
    public func mark(
        _ name: String, _ ranges: [Range<Int64>], sourceWitness: () -> [WriteWitness] = { [] }
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.index(of: name)
            try transaction.recover(bitmapAt: index)
            try transaction.requireConsistent(index)
            guard transaction.catalog.bitmaps[index].state != .disabled else {
                throw .disabled(name: name)
            }
            let size = transaction.catalog.device.size
            for range in ranges where range.lowerBound < 0 || range.upperBound > size {
                throw .rangeOutside(range, size: size)
            }
            try transaction.mark(ranges, bitmapAt: index)
            transaction.noteMarks(index, sourceWitness())
        }
    }

    /// Marks dirty what other bitmaps of this store have dirty; all of them or, on an error, none.
    ///
    /// Granularities may differ; dirty granules are rounded outward.
    ///
    /// - Throws: `noSuchBitmap`; `busy` for `name`; `inconsistent` for any.
    public func merge(
        into name: String, from names: [String]
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.idleIndex(of: name)
            var sources: [Int] = []
            for source in names {
                let place = try transaction.index(of: source)
                try transaction.recover(bitmapAt: place)
                try transaction.requireConsistent(place)
                sources.append(place)
            }
            for source in sources where source != index {
                try transaction.merge(transaction.catalog.bitmaps[source].bits, bitmapAt: index)
                transaction.catalog.bitmaps[index].history.marked(
                    like: transaction.catalog.bitmaps[source].history)
            }
        }
    }

    /// Marks dirty what a bitmap from elsewhere has dirty, also in a disabled one.
    ///
    /// - Parameter sourceWitness: see `mark`.
    /// - Throws: `noSuchBitmap`, `busy`, `inconsistent`, `sizesDiffer`.
    public func merge(
        into name: String, bits: borrowing DirtyBitmap,
        sourceWitness: () -> [WriteWitness] = { [] }
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.idleIndex(of: name)
            try transaction.requireSize(bits.size)
            try transaction.merge(bits, bitmapAt: index)
            transaction.noteMarks(index, sourceWitness())
        }
    }

    /// A copy of a bitmap as it is now; all dirty if it is inconsistent.
    ///
    /// What a job that died left to do counts as dirty where its bitmap mode says so, as if that
    /// had been worked into the bitmap already.
    ///
    /// - Complexity: O(words), and a read for each page that is neither clean nor full.
    public func load(_ name: String) throws(BitmapStoreError) -> DirtyBitmap {
        try look { view throws(BitmapStoreError) -> DirtyBitmap in
            guard let index = view.catalog.index(ofBitmap: name) else {
                throw view.noSuchBitmap(name)
            }
            return try view.recovered(view.catalog.bitmaps[index])
        }
    }

    /// What an incremental job to a target would copy: the marks, and what this target lacks
    /// beyond them; the marks alone, if it is not known. All dirty if the bitmap is inconsistent.
    ///
    /// - Complexity: as for the bitmap alone.
    public func load(
        _ name: String, for target: DeviceIdentity
    ) throws(BitmapStoreError) -> DirtyBitmap {
        try look { view throws(BitmapStoreError) -> DirtyBitmap in
            guard let index = view.catalog.index(ofBitmap: name) else {
                throw view.noSuchBitmap(name)
            }
            return try view.recovered(view.catalog.bitmaps[index], for: target)
        }
    }
}
