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
        case .packed(let index): reader.unpack(index, transfer, transfers.queue.buffers)
        case .slot: preconditionFailure("a slot writes")
        }
    }

    /// A part of a reading has come, or will not.
    mutating func finishPart(of index: ReadingIndex) {
        reader.finishPart(index)
        if reader[index].isStarted { advancePhase(index.slot) }
    }

    /// The bytes in a buffer have been decompressed, or could not be.
    mutating func endUnpacking(_ index: PackedIndex, isGood: Bool) {
        guard isGood else { return failPackedRead(index, .corruptData, transfer: nil) }
        job.counters.read.count(Int64(reader.packed[index].range.count))
        finishPackedRead(index)
    }

    /// Gives a buffer back, to a run that waits for one before all others.
    private mutating func finishPackedRead(_ index: PackedIndex) {
        let owner = reader.packed[index].owner
        if let next = reader.finishPacked(index) {
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
    mutating func failPackedRead(
        _ index: PackedIndex, _ cause: FailureCause, transfer: TransferIndex?,
        resumes: Int? = nil
    ) {
        let entry = reader.packed[index]
        let slot = entry.owner.slot
        if let error = plan.source.shrinkage(.source) {
            job.control.fail(error)
            giveUpPackedRead(index, nil, transfer)
            return
        }
        let error = MirrorError.transfer(
            .source, name: plan.source.name, verb: Transfer.Kind.readPacked.verb,
            offset: entry.range.lowerBound, count: Int64(entry.range.count), cause: cause)
        let failure = FailedRange(
            side: .source, range: wholeBlocks(entry.range, slot), cause: cause)
        switch verdict(.source, cause) {
        case _ where job.control.isStopping:
            giveUpPackedRead(index, failure, transfer)
        case .report, .enospc:
            job.control.fail(error)
            giveUpPackedRead(index, failure, transfer)
        case .stop:
            parked.append(transfer.map { .transfer($0) } ?? .packed(index))
            pause(because: error, askedAfter: resumes ?? job.control.resumes)
        case .ignore:
            note(failure, slot, isRead: true)
            postpone(failure.range, slot)
            if let transfer { transfers.abandon(transfer) }
            finishPackedRead(index)
        }
    }

    private mutating func giveUpPackedRead(
        _ index: PackedIndex, _ failure: FailedRange?, _ transfer: TransferIndex?
    ) {
        let slot = reader.packed[index].owner.slot
        if let failure { note(failure, slot, isRead: true) }
        slots[slot].isIncomplete = true
        if let transfer { transfers.abandon(transfer) }
        finishPackedRead(index)
    }
}
