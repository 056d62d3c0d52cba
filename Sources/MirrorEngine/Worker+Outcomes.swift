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
            if transfer.kind == .checkpoint { endCheckpoint() }
            if transfer.kind == .poll { collectUnpacked() }
            return
        }
        count(transfer)
        if transfer.kind.isRead && plan.dropSourceCache {
            dropCache(behind: transfer, as: .dropCache)
        } else if transfer.kind == .write && plan.dropTargetCache {
            dropCache(behind: transfer, as: .writeBack)
        }
        if transfer.kind == .readPacked {
            unpack(transfer)
        } else {
            finishPart(of: transfer.owner)
        }
    }

    /// A transfer of a slot has ended, or a decompression.
    mutating func finishPart(of index: Int) {
        slots[index].outstanding -= 1
        if slots[index].cursor == slots[index].range.upperBound { advancePhase(index) }
    }

    private func count(_ transfer: Transfer) {
        let bytes = transfer.transferred
        switch transfer.kind {
        case .read: job.counters.read.count(bytes)
        case .write, .writeZeros: job.counters.written.count(bytes)
        case .punchHole, .zeroRange: job.counters.zeroed.count(bytes)
        // Compressed bytes are counted when they are what they stand for.
        case .readPacked, .flush, .checkpoint, .poll, .writeBack, .dropCache: break
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
        switch transfer.kind {
        case .checkpoint, .writeBack:
            job.flushFailed(cause)
            transfers.abandon(index)
            return
        case .poll:
            job.control.fail(.ring(.systemCall("IORING_OP_POLL_ADD", code: cause.code)))
            transfers.abandon(index)
            return
        case .readPacked:
            failPackedRead(transfer.owner, cause, transfer: index)
            return
        default: break
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
            parked.append(.transfer(index))
            job.control.pause(because: error)
            job.log.paused(error)
        case .ignore:
            note(failure, transfer.owner, isRead: transfer.kind == .read)
            postpone(
                side == .target ? cost(of: failure.range, transfer.owner) : failure.range,
                transfer.owner)
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
    private func uncopied(_ transfer: Transfer, _ count: Int64) -> Range<Int64> {
        let failed = transfer.position..<min(transfer.position + count, transfer.end)
        return transfer.kind == .read ? wholeBlocks(failed, transfer.owner) : failed
    }

    /// What can't be read costs whole blocks of the target, which may be larger than the source's.
    func wholeBlocks(_ range: Range<Int64>, _ index: Int) -> Range<Int64> {
        let mask = Int64(max(plan.target.alignment, 512)) - 1
        let end = slots[index].range.upperBound
        return (range.lowerBound & ~mask)..<min((range.upperBound + mask) & ~mask, end)
    }

    /// What a failed write costs of a run: in an image perhaps all that the run has of a cluster,
    /// which must not be seen with a hole in it.
    private func cost(of range: Range<Int64>, _ index: Int) -> Range<Int64> {
        plan.target.lost(range).clamped(to: slots[index].range)
    }

    /// Leaves a stretch of a run to the retry pass.
    mutating func postpone(_ range: Range<Int64>, _ index: Int) {
        job.dispenser.defer(range)
        slots[index].noteDeferred(range)
    }

    /// The policy that applies; `.enospc` never comes out.
    func verdict(_ side: MirrorSide, _ cause: FailureCause) -> ErrorPolicy {
        let policy = side == .source ? plan.sourcePolicy : plan.targetPolicy
        guard policy == .enospc else { return policy }
        guard side == .target, case .errno(let code) = cause, Errors.isOutOfSpace(code) else {
            return .report
        }
        return .stop
    }

    /// A device that was pulled out or resized answers like a full or short one: ask for its size.
    func shrinkage(of side: MirrorSide) -> MirrorError? {
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
        if let failure { note(failure, transfer.owner, isRead: transfer.kind == .read) }
        slots[transfer.owner].isIncomplete = true
        transfers.abandon(index)
        finish(transfer)
    }

    mutating func note(_ failure: FailedRange, _ index: Int, isRead: Bool) {
        if isRead { slots[index].unreadable.append(failure.range) }
        if !job.failures.add(failure) {
            job.control.fail(.tooManyFailures(limit: FailureLog.limit))
        }
    }

    mutating func unpark() {
        let waiting = parked
        parked.removeAll(keepingCapacity: true)
        for one in waiting {
            switch one {
            case .transfer(let index): transfers.retry(index)
            case .packed(let buffer): restarts.append(buffer)
            }
        }
    }
}

extension FailureCause {
    /// The errno; 0 where there is none.
    var code: CInt { if case .errno(let code) = self { code } else { 0 } }
}

extension Transfer.Kind {
    var verb: String {
        switch self {
        case .read, .readPacked: "reading"
        case .write: "writing"
        case .writeZeros, .punchHole, .zeroRange: "zeroing"
        case .flush, .checkpoint: "flushing"
        case .poll: "waiting for"
        case .writeBack, .dropCache: "dropping the page cache of"
        }
    }
}
