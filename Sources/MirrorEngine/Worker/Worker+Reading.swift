internal import BlockStorage
internal import Ring

/// What a worker does with what its reader reads for it.
extension Worker where Queue: ~Copyable {
    /// A read has ended: of a run, or of compressed bytes, which are decompressed now.
    mutating func finishRead(_ transfer: Transfer) {
        if plan.dropSourceCache { dropCache(behind: transfer) }
        switch transfer.owner {
        case .reading(let index):
            job.counters.read.count(transfer.transferred)
            finishPart(of: index)
        case .compressed(let index): reader.decompress(index, transfer, transfers.queue.buffers)
        case .slot: preconditionFailure("a slot writes")
        }
    }

    /// A part of a reading has come, or will not.
    mutating func finishPart(of index: ReadingIndex) {
        reader.finishPart(index)
        if reader[index].isStarted { advancePhase(index.slot) }
    }

    /// The bytes in a buffer have been decompressed, or could not be.
    mutating func endDecompression(_ index: CompressedIndex, isGood: Bool) {
        guard isGood else { return failCompressedRead(index, .corruptData, transfer: nil) }
        job.counters.read.count(Int64(reader.compressed[index].range.count))
        finishCompressedRead(index)
    }

    /// Gives a buffer back, to a run that waits for one before all others.
    private mutating func finishCompressedRead(_ index: CompressedIndex) {
        let owner = reader.compressed[index].owner
        if let next = reader.finishCompressed(index) {
            slots[next.slot].isQueued = true
            backlog.prepend(next.slot)
        }
        if reader[owner].isStarted { advancePhase(owner.slot) }
    }

    /// Decides what it means that a compressed stretch can't be read, by a transfer that waits for
    /// an answer, or can't be decompressed.
    ///
    /// - Parameter resumes: how often the job had been resumed when the bytes were asked for; nil
    ///   if they have come.
    mutating func failCompressedRead(
        _ index: CompressedIndex, _ cause: FailureCause, transfer: TransferIndex?,
        resumes: Int? = nil
    ) {
        let entry = reader.compressed[index]
        let slot = entry.owner.slot
        if let error = plan.source.shrinkage(.source) {
            job.control.fail(error)
            giveUpCompressedRead(index, nil, transfer)
            return
        }
        let error = MirrorError.transfer(
            .source, name: plan.source.name, verb: Transfer.Kind.readCompressed.verb,
            offset: entry.range.lowerBound, count: Int64(entry.range.count), cause: cause)
        let failure = FailedRange(
            side: .source, range: wholeBlocks(entry.range, slot), cause: cause)
        switch verdict(.source, cause) {
        case _ where job.control.isStopping:
            giveUpCompressedRead(index, failure, transfer)
        case .report, .enospc:
            job.control.fail(error)
            giveUpCompressedRead(index, failure, transfer)
        case .stop:
            parked.append(transfer.map { .transfer($0) } ?? .compressed(index))
            pause(because: error, askedAfter: resumes ?? job.control.resumes)
        case .ignore:
            note(failure, slot, isRead: true)
            postpone(failure.range, slot)
            if let transfer { transfers.abandon(transfer) }
            finishCompressedRead(index)
        }
    }

    private mutating func giveUpCompressedRead(
        _ index: CompressedIndex, _ failure: FailedRange?, _ transfer: TransferIndex?
    ) {
        let slot = reader.compressed[index].owner.slot
        if let failure { note(failure, slot, isRead: true) }
        slots[slot].isIncomplete = true
        if let transfer { transfers.abandon(transfer) }
        finishCompressedRead(index)
    }
}
