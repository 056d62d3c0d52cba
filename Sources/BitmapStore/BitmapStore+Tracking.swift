package import BlockStorage
package import DirtyBitmap

// Bitmaps whose disk the kernel tracks. What it has marked is brought into the bitmap, durably,
// before it is forgotten there: so that a mark is in one of both at any time.

extension BitmapStore {
    /// Says durably that a tracker marks for a bitmap from now on. It has to be at work already.
    ///
    /// If the machine starts anew or the tracker ends before `endTracking`, the bitmap is
    /// inconsistent.
    ///
    /// - Parameters:
    ///   - merges: the number of the tracker's last merge.
    ///   - sourceWitness: a look at the source's files since which the tracker has seen all writes.
    ///   - judge: whether the bitmap has missed a write to the source before: then all its targets
    ///     lack everything. It must not call the store.
    /// - Throws: `noSuchBitmap`, `disabled`, `inconsistent`; `tracked` by another tracker; `busy`
    ///   if something else records.
    package func beginTracking(
        _ name: String, by tracker: StoredTracker, merges: UInt64, sourceWitness: [WriteWitness],
        judge: WriterJudge
    ) throws(BitmapStoreError) {
        try transact { transaction throws(BitmapStoreError) in
            let index = try transaction.index(of: name)
            try transaction.recover(bitmapAt: index)
            try transaction.requireConsistent(index)
            let bitmap = transaction.catalog.bitmaps[index]
            guard bitmap.state == .recording else { throw .disabled(name: name) }
            for recorder in transaction.catalog.recorders where recorder.bitmap == bitmap.id {
                if recorder.tracker == tracker { return }
                guard recorder.tracker == nil else { throw .tracked(name: name) }
                throw .busy(name: name, holder: recorder.holder)
            }
            try transaction.requireRoomForRecord()
            let history = bitmap.history
            switch judge(history, history.hasNewMarks, bitmap.bits.dirtyBytes > 0) {
            case .marked: break
            case .missed: transaction.noteMissedWrite(.stored(index))
            case .doubt(let kind):
                transaction.noteSourceDoubt(kind, .stored(index))
                // What an interrupted job lacks is not known either.
                transaction.noteUnrecorded(.stored(index))
            }
            transaction.catalog.bitmaps[index].history.judged(sourceWitness)
            transaction.catalog.recorders.append(
                RecorderEntry(
                    id: transaction.catalog.takeID(), bitmap: bitmap.id, holder: holder,
                    tracker: tracker, merges: merges))
        }
    }

    /// Brings what a tracker has marked into all its bitmaps, also while jobs work with them. When
    /// this returns, the tracker may forget it.
    ///
    /// A bitmap that lacks an earlier merge is inconsistent from now on, and not tracked any more:
    /// the store is a copy from before it.
    ///
    /// - Parameters:
    ///   - bits: of the size of the disk.
    ///   - number: of this merge, larger than that of each one that was tried before.
    ///   - released: the last one after which the tracker has forgotten what it had marked.
    ///   - sourceWitness: a look at the source's files from before the marks were taken.
    /// - Returns: the names of the bitmaps that have the marks.
    @discardableResult
    package func merge(
        _ bits: borrowing DirtyBitmap, of tracker: StoredTracker, number: UInt64,
        released: UInt64, sourceWitness: [WriteWitness]
    ) throws(BitmapStoreError) -> [String] {
        let marks = SharedBits(bits.copy())
        return try transact { transaction throws(BitmapStoreError) in
            var names: [String] = []
            var outdated: Set<UInt64> = []
            for (position, recorder) in transaction.catalog.recorders.enumerated()
            where recorder.tracker == tracker {
                guard
                    let index = transaction.catalog.bitmaps.firstIndex(where: {
                        $0.id == recorder.bitmap
                    })
                else { preconditionFailure("a recorder belongs to a bitmap") }
                guard recorder.merges >= released, recorder.merges < number else {
                    transaction.catalog.bitmaps[index].state = .inconsistent
                    outdated.insert(recorder.id)
                    continue
                }
                transaction.catalog.recorders[position].merges = number
                try transaction.requireSize(marks.bits.size)
                try transaction.merge(marks.bits, bitmapAt: index)
                transaction.noteMarks(index, sourceWitness)
                transaction.catalog.bitmaps[index].history.judged(sourceWitness)
                names.append(transaction.catalog.bitmaps[index].name)
            }
            transaction.catalog.recorders.removeAll { outdated.contains($0.id) }
            return names
        }
    }

    /// Says that a tracker marks no more. What it had marked has been merged, or is lost.
    ///
    /// - Parameters:
    ///   - name: of this bitmap only; nil: of all.
    ///   - isLost: something was written that it has not told: the bitmaps are inconsistent.
    /// - Returns: the names of the bitmaps.
    @discardableResult
    package func endTracking(
        by tracker: StoredTracker, of name: String? = nil, isLost: Bool
    ) throws(BitmapStoreError) -> [String] {
        try transact { transaction throws(BitmapStoreError) in
            var names: [String] = []
            for index in transaction.catalog.bitmaps.indices {
                let bitmap = transaction.catalog.bitmaps[index]
                guard name == nil || name == bitmap.name,
                    transaction.catalog.recorders.contains(where: {
                        $0.bitmap == bitmap.id && $0.tracker == tracker
                    })
                else { continue }
                transaction.catalog.recorders.removeAll {
                    $0.bitmap == bitmap.id && $0.tracker == tracker
                }
                if isLost { transaction.catalog.bitmaps[index].state = .inconsistent }
                names.append(bitmap.name)
            }
            return names
        }
    }
}

extension Transaction {
    /// Refuses a bitmap for which a tracker is at work.
    func requireUntracked(_ index: Int) throws(BitmapStoreError) {
        let bitmap = catalog.bitmaps[index]
        for recorder in catalog.recorders
        where recorder.bitmap == bitmap.id && recorder.tracker != nil {
            if try file.isAlive(recorder) { throw .tracked(name: bitmap.name) }
        }
    }
}
