internal import BlockStorage
internal import Ring

/// What a worker does when a transfer has ended, well or badly.
extension Worker where Queue: ~Copyable {
    mutating func handle(_ outcome: Outcome) {
        switch outcome {
        case .finished(let transfer): finish(transfer)
        case .failed(let index, let transfer, let cause, let count):
            fail(index, transfer, cause, count)
        }
    }

    private mutating func finish(_ transfer: Transfer) {
        if transfer.owner == Worker.noOwner {
            if transfer.kind == .writeBack { dropCache(behind: transfer, as: .dropCache) }
            if transfer.kind == .checkpoint { job.checkpoints.end() }
            return
        }
        count(transfer)
        if transfer.kind == .read && plan.dropSourceCache {
            dropCache(behind: transfer, as: .dropCache)
        } else if transfer.kind == .write && plan.dropTargetCache {
            dropCache(behind: transfer, as: .writeBack)
        }
        slots[transfer.owner].outstanding -= 1
        if slots[transfer.owner].cursor == slots[transfer.owner].range.upperBound {
            advancePhase(transfer.owner)
        }
    }

    private func count(_ transfer: Transfer) {
        let bytes = transfer.transferred
        switch transfer.kind {
        case .read: job.counters.read.count(bytes)
        case .write, .writeZeros: job.counters.written.count(bytes)
        case .punchHole, .zeroRange: job.counters.zeroed.count(bytes)
        case .flush, .checkpoint, .writeBack, .dropCache: break
        }
    }

    /// Decides what a failure means: for the way of zeroing, for the device, for the job.
    private mutating func fail(
        _ index: Int, _ transfer: Transfer, _ cause: FailureCause, _ count: Int64
    ) {
        if transfer.kind == .punchHole || transfer.kind == .zeroRange,
            case .errno(let code) = cause, Errors.isUnsupported(code)
        {
            changeZeroing(index, transfer)
            return
        }
        if transfer.kind == .checkpoint {
            job.flushFailed(cause)
            transfers.abandon(index)
            return
        }
        let side: MirrorSide = transfer.kind == .read ? .source : .target
        if let error = shrinkage(of: side) {
            job.control.fail(error)
            giveUp(index, transfer, nil)
            return
        }
        let error = MirrorError.transfer(
            side, name: side == .source ? plan.source.name : plan.target.name,
            verb: transfer.kind.verb, offset: transfer.position, count: count, cause: cause)
        let failure = FailedRange(side: side, range: uncopied(transfer, count), cause: cause)
        switch verdict(side, cause) {
        case _ where job.control.isStopping:
            giveUp(index, transfer, failure)
        case .report, .enospc:
            job.control.fail(error)
            giveUp(index, transfer, failure)
        case .stop:
            parked.append(index)
            job.control.pause(because: error)
            job.log.paused(error)
        case .ignore:
            note(failure, transfer)
            job.dispenser.defer(failure.range)
            slots[transfer.owner].deferredBytes += Int64(failure.range.count)
            if let finished = transfers.skip(
                index, count: failure.range.upperBound - transfer.position)
            {
                finish(finished)
            }
        }
    }

    /// Zeroes the rest of a transfer in the next way.
    private mutating func changeZeroing(_ index: Int, _ transfer: Transfer) {
        if job.zeroing.current == transfer.kind {
            job.log.zeroing(transfer.kind, isUnsupportedOn: plan.target.name)
        }
        let kind = job.zeroing.descend(from: transfer.kind)
        var file = transfer.file
        if kind == .writeZeros {
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

    /// What can't be copied because `count` bytes failed at a transfer's position. What can't be
    /// read costs whole blocks of the target, which may be larger than the source's.
    private func uncopied(_ transfer: Transfer, _ count: Int64) -> Range<Int64> {
        let failed = transfer.position..<min(transfer.position + count, transfer.end)
        guard transfer.kind == .read else { return failed }
        let mask = Int64(max(plan.target.alignment, 512)) - 1
        let run = slots[transfer.owner].range
        return (failed.lowerBound & ~mask)..<min((failed.upperBound + mask) & ~mask, run.upperBound)
    }

    /// The policy that applies; `.enospc` never comes out.
    private func verdict(_ side: MirrorSide, _ cause: FailureCause) -> ErrorPolicy {
        let policy = side == .source ? plan.sourcePolicy : plan.targetPolicy
        guard policy == .enospc else { return policy }
        guard side == .target, case .errno(let code) = cause, Errors.isOutOfSpace(code) else {
            return .report
        }
        return .stop
    }

    /// A device that was pulled out or resized answers like a full or short one: ask for its size.
    private func shrinkage(of side: MirrorSide) -> MirrorError? {
        let map: any DiskMap = side == .source ? plan.source : plan.target
        do throws(StorageError) {
            guard let change = try map.sizeChange() else { return nil }
            return .shrank(side, name: map.name, from: change.from, to: change.to)
        } catch {
            return .storage(error)
        }
    }

    /// Ends a transfer that the job will not finish.
    private mutating func giveUp(_ index: Int, _ transfer: Transfer, _ failure: FailedRange?) {
        if let failure { note(failure, transfer) }
        slots[transfer.owner].isIncomplete = true
        transfers.abandon(index)
        finish(transfer)
    }

    private mutating func note(_ failure: FailedRange, _ transfer: Transfer) {
        if transfer.kind == .read { slots[transfer.owner].unreadable.append(failure.range) }
        if !job.failures.add(failure) {
            job.control.fail(.tooManyFailures(limit: FailureLog.limit))
        }
    }

    mutating func unpark() {
        let waiting = parked
        parked.removeAll(keepingCapacity: true)
        for index in waiting { transfers.retry(index) }
    }
}

extension Transfer.Kind {
    var verb: String {
        switch self {
        case .read: "reading"
        case .write: "writing"
        case .writeZeros, .punchHole, .zeroRange: "zeroing"
        case .flush, .checkpoint: "flushing"
        case .writeBack, .dropCache: "dropping the page cache of"
        }
    }
}
