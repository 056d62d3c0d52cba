internal import BlockStorage
internal import DirtyBitmap
internal import Ring

/// What a worker does when a transfer has ended, well or badly.
extension Worker where Queue: ~Copyable {
    mutating func handle(_ outcome: Outcome) {
        switch outcome {
        case .finished(let transfer): finish(transfer)
        case .failed(let index, let transfer, let cause, let count):
            fail(index, transfer, cause, count)
        case .done(let control): finish(control)
        case .undone(_, let cause): job.flushFailed(cause)
        case .decompressed(let index, let isGood): endDecompression(index, isGood: isGood)
        }
    }

    private mutating func finish(_ control: ControlRequest) {
        switch control {
        // What is on the storage is of no use in the page cache.
        case .writeBack(let file, let range): transfers.start(.dropCache(file, range))
        case .checkpoint: job.endCheckpoint()
        case .dropCache: break
        case .flush: preconditionFailure("the last flush is waited for by itself")
        }
    }

    private mutating func finish(_ transfer: Transfer) {
        guard case .slot(let index) = transfer.owner else { return finishRead(transfer) }
        switch transfer.kind {
        case .write, .writeZeros: job.counters.written.count(transfer.transferred)
        case .punchHole, .zeroRange: job.counters.zeroed.count(transfer.transferred)
        case .read, .readCompressed: preconditionFailure("a slot writes")
        }
        if transfer.kind == .write && plan.dropTargetCache { writeBack(behind: transfer) }
        slots[index].outstanding -= 1
        if slots[index].cursor == slots[index].range.upperBound { advancePhase(index) }
    }

    /// Decides what a failure means: for the way of zeroing, for the device, for the job.
    private mutating func fail(
        _ index: TransferIndex, _ transfer: Transfer, _ cause: FailureCause, _ count: Int64
    ) {
        if transfer.kind == .punchHole || transfer.kind == .zeroRange,
            case .errno(let code) = cause, ErrnoClass.isUnsupported(code)
        {
            changeZeroing(index, transfer)
            return
        }
        let (side, slot): (MirrorSide, SlotIndex)
        switch transfer.owner {
        case .compressed(let buffer):
            return failCompressedRead(buffer, cause, transfer: index, resumes: transfer.resumes)
        case .reading(let reading): (side, slot) = (.source, reading.slot)
        case .slot(let writing): (side, slot) = (.target, writing)
        }
        if let error = shrinkage(of: side) {
            job.control.fail(error)
            giveUp(index, transfer, nil, slot)
            return
        }
        let error = MirrorError.transfer(
            side, name: side == .source ? plan.source.name : plan.target.name,
            verb: transfer.kind.verb, offset: transfer.position, count: count, cause: cause)
        let failure = FailedRange(
            side: side, range: uncopied(transfer, count, slot), cause: cause)
        switch verdict(side, cause) {
        case _ where job.control.isStopping:
            giveUp(index, transfer, failure, slot)
        case .report, .enospc:
            job.control.fail(error)
            giveUp(index, transfer, failure, slot)
        case .stop:
            parked.append(.transfer(index))
            pause(because: error, askedAfter: transfer.resumes)
        case .ignore:
            let lost = side == .target ? cost(of: failure.range, slot) : failure.range
            note(
                FailedRange(side: side, range: lost, cause: cause), slot, isRead: side == .source)
            postpone(lost, slot)
            if let finished = transfers.skip(
                index, count: failure.range.upperBound - transfer.position)
            {
                finish(finished)
            }
        }
    }

    /// Zeroes the rest of a transfer in the next way.
    private mutating func changeZeroing(_ index: TransferIndex, _ transfer: Transfer) {
        if job.zeroing.current == transfer.kind {
            job.log.zeroing(transfer.kind, isUnsupportedOn: plan.target.name)
        }
        let kind = job.zeroing.descend(from: transfer.kind)
        var file = transfer.file
        if kind == .writeZeros {
            job.control.speed.consume(transfer.end - transfer.position)
            do throws(StorageError) {
                // The transfer lies within one extent, so that its first byte tells for all.
                let extent = try plan.target.place(at: transfer.position, limit: transfer.end)
                file = plan.targetFile(extent.file)
            } catch {
                job.control.fail(.storage(error))
            }
        }
        transfers.change(index, to: kind, file: file)
    }

    /// What can't be copied because `count` bytes failed at a transfer's position.
    private func uncopied(
        _ transfer: Transfer, _ count: Int64, _ slot: SlotIndex
    ) -> Range<Int64> {
        let failed = transfer.position..<min(transfer.position + count, transfer.end)
        return transfer.kind == .read ? wholeBlocks(failed, slot) : failed
    }

    /// What can't be read costs whole blocks of the target, which may be larger than the source's.
    func wholeBlocks(_ range: Range<Int64>, _ index: SlotIndex) -> Range<Int64> {
        let block = Int64(max(plan.target.alignment, 512))
        let end = slots[index].range.upperBound
        return range.lowerBound
            .roundedDown(to: block)..<min(range.upperBound.roundedUp(to: block), end)
    }

    /// What a failed write costs of a run: in an image perhaps all that the run has of a cluster,
    /// which must not be seen with a hole in it.
    private func cost(of range: Range<Int64>, _ index: SlotIndex) -> Range<Int64> {
        plan.target.lost(range).clamped(to: slots[index].range)
    }

    /// Leaves a stretch of a run to the retry pass.
    mutating func postpone(_ range: Range<Int64>, _ index: SlotIndex) {
        job.dispenser.defer(range)
        slots[index].noteDeferred(range)
    }

    /// The policy that applies; `.enospc` never comes out.
    func verdict(_ side: MirrorSide, _ cause: FailureCause) -> ErrorPolicy {
        let policy = side == .source ? plan.sourcePolicy : plan.targetPolicy
        guard policy == .enospc else { return policy }
        guard side == .target, case .errno(let code) = cause, ErrnoClass.isOutOfSpace(code) else {
            return .report
        }
        return .stop
    }

    /// Whether a side has lost bytes, which explains all other errors.
    func shrinkage(of side: MirrorSide) -> MirrorError? {
        switch side {
        case .source: plan.source.shrinkage(side)
        case .target: plan.target.shrinkage(side)
        }
    }

    /// Ends a transfer that the job will not finish.
    private mutating func giveUp(
        _ index: TransferIndex, _ transfer: Transfer, _ failure: FailedRange?, _ slot: SlotIndex
    ) {
        if let failure { note(failure, slot, isRead: transfer.kind == .read) }
        slots[slot].isIncomplete = true
        transfers.abandon(index)
        finish(transfer)
    }

    mutating func note(_ failure: FailedRange, _ index: SlotIndex, isRead: Bool) {
        if isRead { slots[index].unreadable.append(failure.range) }
        if !job.failures.add(failure) {
            job.control.fail(.tooManyFailures(limit: FailureLog.limit))
        }
    }

    /// Has the job wait with an error, unless somebody has resumed it since the request that failed
    /// was made: they may have mended that, and the same bytes are tried again first.
    func pause(because error: MirrorError, askedAfter resumes: Int) {
        guard resumes == job.control.resumes else { return }
        job.pause(because: error)
    }

    mutating func unpark() {
        // Among them may be the last bytes, which would hide that: see `start`.
        if !parked.isEmpty, let error = shrinkage(of: .target) { return job.control.fail(error) }
        transfers.resumes = job.control.resumes
        let waiting = parked
        parked.removeAll(keepingCapacity: true)
        for one in waiting {
            switch one {
            case .transfer(let index): transfers.retry(index)
            case .compressed(let buffer): restarts.append(buffer)
            }
        }
    }
}

extension Transfer.Kind {
    var verb: String {
        switch self {
        case .read, .readCompressed: "reading"
        case .write: "writing"
        case .writeZeros, .punchHole, .zeroRange: "zeroing"
        }
    }
}
