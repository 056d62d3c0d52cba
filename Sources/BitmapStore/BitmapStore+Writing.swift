package import BlockStorage
package import DirtyBitmap

// What writes the disk of a store, and knows of its bitmaps, says so before and afterwards.

extension BitmapStore {
    /// What is known of the source before a program adds marks of its own to a bitmap, which would
    /// explain what others have written.
    package enum WriterFinding: Sendable {
        /// All that was written until now is marked, as far as can be told.
        case marked
        /// Something was written that is not marked.
        case missed
        /// Whether something was can't be told.
        case doubt(TargetDoubt.Kind)
    }

    /// Says it of a bitmap with this history.
    package typealias WriterJudge =
        (BitmapHistory, _ hasNewMarks: Bool, _ hasMarks: Bool) -> WriterFinding

    /// Marks what is about to be written to the disk in every bitmap that records, also while jobs
    /// work with them.
    ///
    /// A bitmap that has missed a write, or whose source an earlier job began to write and did not
    /// say how that ended, gets all of the disk: the marks that are added now would hide it.
    ///
    /// - Parameters:
    ///   - bits: of the size of the disk.
    ///   - sourceWitness: looks at the disk's files; see `mark`.
    ///   - judge: whether a bitmap has missed a write, by its history, whether it was marked since
    ///     the last look, and whether it has any marks. It must not call the store.
    /// - Returns: the bitmaps that were marked.
    /// - Throws: `sizesDiffer`; nothing is marked then.
    @discardableResult
    package func beginWriting(
        _ bits: borrowing DirtyBitmap, sourceWitness: () -> [WriteWitness], judge: WriterJudge
    ) throws(BitmapStoreError) -> [String] {
        try markRecording(bits) { transaction, index in
            let history = transaction.catalog.bitmaps[index].history
            defer { transaction.noteMarks(index, sourceWitness()) }
            transaction.catalog.bitmaps[index].history.isBeingWritten = true
            guard !history.isBeingWritten else { return true }
            let hasMarks = transaction.catalog.bitmaps[index].bits.dirtyBytes > 0
            switch judge(history, history.hasNewMarks, hasMarks) {
            case .marked: break
            case .missed: return true
            case .doubt(let kind): transaction.noteSourceDoubt(kind, .stored(index))
            }
            return false
        }
    }

    /// Marks what was written, in bitmaps that jobs may have taken the marks of in the meantime.
    ///
    /// - Parameters:
    ///   - bits: as for `beginWriting`; all, if something else may have written, too.
    ///   - found: the disk's files as they were left; none if another device was written that
    ///     shares storage with it; nil: that can't be told, which is as if the job had died.
    ///   - doubt: why it can't be told whether something else has written; nil: it can.
    @discardableResult
    package func endWriting(
        _ bits: borrowing DirtyBitmap, found: [WriteWitness]?, doubt: TargetDoubt.Kind? = nil
    ) throws(BitmapStoreError) -> [String] {
        try markRecording(bits) { transaction, index in
            if let found { transaction.noteMarks(index, found) }
            return false
        } then: { transaction, index in
            // All that was written until now is marked. One that takes no marks goes by the look
            // from when it was disabled.
            guard let found else { return }
            transaction.catalog.bitmaps[index].history.isBeingWritten = false
            guard transaction.catalog.bitmaps[index].state == .recording else { return }
            transaction.catalog.bitmaps[index].history.judged(found)
        } finally: { transaction in
            guard let doubt else { return }
            for index in transaction.catalog.bitmapIndices {
                transaction.noteSourceDoubt(doubt, index)
            }
        }
    }

    /// - Parameters:
    ///   - isWhole: whether a bitmap that records gets all of the disk instead.
    ///   - then: called for each bitmap.
    ///   - finally: called once.
    private func markRecording(
        _ bits: borrowing DirtyBitmap, isWhole: (inout Transaction, Int) -> Bool,
        then: (inout Transaction, Int) -> Void = { _, _ in },
        finally: (inout Transaction) -> Void = { _ in }
    ) throws(BitmapStoreError) -> [String] {
        let copy = SharedBits(bits.copy())
        return try transact { transaction throws(BitmapStoreError) in
            try transaction.requireSize(copy.bits.size)
            var marked: [String] = []
            for index in transaction.catalog.bitmaps.indices {
                try transaction.recover(bitmapAt: index)
                defer { then(&transaction, index) }
                guard transaction.catalog.bitmaps[index].state == .recording else { continue }
                // What the marks of now would hide is looked at before they are there.
                if isWhole(&transaction, index) {
                    try transaction.mark([0..<copy.bits.size], bitmapAt: index)
                } else {
                    try transaction.merge(copy.bits, bitmapAt: index)
                }
                marked.append(transaction.catalog.bitmaps[index].name)
            }
            finally(&transaction)
            return marked
        }
    }
}
