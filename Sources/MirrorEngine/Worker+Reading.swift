internal import BlockStorage
internal import Ring

/// How a run comes into memory: read from where it lives, decompressed, or cleared.
extension Worker where Queue: ~Copyable {
    /// Starts the next read of a run; false if there is no buffer for compressed bytes.
    mutating func startRead(_ index: Int) throws(StorageError) -> Bool {
        let offset = slots[index].cursor
        let limit = slots[index].range.upperBound
        switch try plan.source.locate(at: offset, limit: limit) {
        case .stored(let extent):
            start(.read, plan.sourceFile(extent.file), extent, at: offset, index)
        case .zero(let length):
            clear(offset..<(offset + length), index)
        case .compressed(let extent):
            guard packed.hasRoom else { return false }
            startPackedRead(extent, offset..<(offset + extent.length), index)
        }
        return true
    }

    /// Makes a stretch of a run zero in memory.
    private mutating func clear(_ range: Range<Int64>, _ index: Int) {
        slots[index].cursor = range.upperBound
        let mask = Int64(plan.source.alignment) - 1
        var start = range.lowerBound
        if start & mask != 0 && slots[index].outstanding > 0 {
            // The read before it asks for the whole block, and the kernel may still fill that.
            let end = min((start + mask) & ~mask, range.upperBound)
            slots[index].lateZeros.append(start..<end)
            start = end
        }
        transfers.queue.buffers.clear(slots[index].memory(start..<range.upperBound))
    }

    /// Clears what had to wait until all reads of a run had ended.
    mutating func clearLateZeros(_ index: Int) {
        for range in slots[index].lateZeros {
            transfers.queue.buffers.clear(slots[index].memory(range))
        }
        slots[index].lateZeros.removeAll()
    }

    // MARK: compressed bytes

    private mutating func startPackedRead(
        _ extent: CompressedExtent, _ range: Range<Int64>, _ index: Int
    ) {
        let buffer = packed.add(
            PackedReads.Entry(
                owner: index, file: plan.sourceFile(extent.file), extent: extent, range: range,
                output: slots[index].memory(range)))
        slots[index].cursor = range.upperBound
        slots[index].outstanding += 1
        transfers.start(packed.transfer(buffer))
    }

    /// Has compressed bytes decompressed that have arrived.
    mutating func unpack(_ read: Transfer) {
        packed.unpack(read, in: transfers.queue.buffers)
        pollUnpacker()
    }

    /// The poll has a place of its own, so that this can't fail.
    private mutating func pollUnpacker() {
        if packed.unpacking > 0 && !transfers.isPolling { transfers.start(packed.poll) }
    }

    /// Takes what has been decompressed.
    mutating func collectUnpacked() {
        packed.acknowledge()
        while let (buffer, isGood) = packed.nextEnd() {
            if isGood {
                job.counters.read.count(Int64(packed[buffer].range.count))
                finishPackedRead(buffer)
            } else {
                failPackedRead(buffer, .corruptData, transfer: nil)
            }
        }
        pollUnpacker()
    }

    /// Gives a buffer back, to a run that waits for one before all others.
    private mutating func finishPackedRead(_ buffer: Int) {
        let owner = packed.remove(buffer).owner
        if starved.count > 0 {
            let index = starved.removeFirst()
            slots[index].isQueued = true
            backlog.prepend(index)
        }
        finishPart(of: owner)
    }

    /// Decides what it means that a compressed stretch can't be read, by a transfer that waits for
    /// an answer, or can't be decompressed.
    mutating func failPackedRead(_ buffer: Int, _ cause: FailureCause, transfer: Int?) {
        let entry = packed[buffer]
        if let error = shrinkage(of: .source) {
            job.control.fail(error)
            giveUpPackedRead(buffer, nil, transfer)
            return
        }
        let error = MirrorError.transfer(
            .source, name: plan.source.name, verb: Transfer.Kind.readPacked.verb,
            offset: entry.range.lowerBound, count: Int64(entry.range.count), cause: cause)
        let failure = FailedRange(
            side: .source, range: wholeBlocks(entry.range, entry.owner), cause: cause)
        switch verdict(.source, cause) {
        case _ where job.control.isStopping:
            giveUpPackedRead(buffer, failure, transfer)
        case .report, .enospc:
            job.control.fail(error)
            giveUpPackedRead(buffer, failure, transfer)
        case .stop:
            parked.append(transfer.map { .transfer($0) } ?? .packed(buffer))
            job.control.pause(because: error)
            job.log.paused(error)
        case .ignore:
            note(failure, entry.owner, isRead: true)
            postpone(failure.range, entry.owner)
            if let transfer { transfers.abandon(transfer) }
            finishPackedRead(buffer)
        }
    }

    private mutating func giveUpPackedRead(
        _ buffer: Int, _ failure: FailedRange?, _ transfer: Int?
    ) {
        let owner = packed[buffer].owner
        if let failure { note(failure, owner, isRead: true) }
        slots[owner].isIncomplete = true
        if let transfer { transfers.abandon(transfer) }
        finishPackedRead(buffer)
    }
}

extension Slot {
    /// Where the slab has a stretch of the run.
    func memory(_ range: Range<Int64>) -> Range<Int> {
        bufferOffset(range.lowerBound)..<bufferOffset(range.upperBound)
    }
}
