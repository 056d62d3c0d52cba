internal import BlockStorage
internal import Ring
internal import SystemPackage

/// How runs become transfers to the target: what is zero, where to write, when to flush.
extension Worker where Queue: ~Copyable {
    /// Starts the next write of the run at the head of the backlog; false if there is no room for
    /// it, the job was paused for that, and the run has gone to the backlog's end.
    mutating func startWriteOrWait(_ index: SlotIndex) throws(StorageError) -> Bool {
        do throws(StorageError) {
            try startWrite(index)
            return true
        } catch {
            guard shouldWait(error) else { throw error }
            if let first = backlog.popFirst() { backlog.append(first) }
            job.pause(because: .storage(error))
            return false
        }
    }

    /// Whether a map's error means that it found no room, and somebody is to make some. Other
    /// errors of maps end a job, whatever its policy.
    private func shouldWait(_ error: StorageError) -> Bool {
        guard case .systemCall(let call, _, let code, _) = error,
            // What a flush that found no room has lost can't be known, and the next may succeed.
            call != "fdatasync", ErrnoClass.isOutOfSpace(code.rawValue), !job.control.isStopping,
            verdict(.target, .errno(code.rawValue)) == .stop
        else { return false }
        if let change = shrinkage(of: .target) {
            job.control.fail(change)
            return false
        }
        return true
    }

    /// Starts the next write of a run, or finds that the next bytes need none.
    mutating func startWrite(_ index: SlotIndex) throws(StorageError) {
        let offset = slots[index].cursor
        var limit = slots[index].range.upperBound
        if let bad = slots[index].nextUnreadable {
            if bad.contains(offset) {
                slots[index].cursor = min(bad.upperBound, limit)
                return
            }
            limit = min(limit, bad.lowerBound)
        }
        if slots[index].isZero {
            try zero(offset..<limit, index)
            return
        }
        let piece = nextPiece(index, offset, limit)
        if piece.isZeroAlready {
            slots[index].cursor = piece.end
            job.counters.skipped.count(piece.end - offset)
            return
        }
        let extent = try plan.target.place(at: offset, limit: piece.end)
        start(.write, plan.targetFile(extent.file), extent, at: offset, index)
    }

    /// The longest piece from `offset` on that needs no write because it is zero on both sides, or
    /// has no such granule in it.
    ///
    /// Zeros that the target doesn't have yet are written like data: punching a small hole costs
    /// more, since file systems wait for all direct I/O to the file before they do it. Data shows
    /// itself in its first words, so that looking costs next to nothing where there are no zeros.
    private func nextPiece(
        _ index: SlotIndex, _ offset: Int64, _ limit: Int64
    ) -> (end: Int64, isZeroAlready: Bool) {
        guard plan.zeroes == .detect else { return (limit, false) }
        var end = granuleEnd(offset, limit)
        let isZeroAlready = mayStay(index, offset..<end)
        while end < limit {
            let next = granuleEnd(end, limit)
            if mayStay(index, end..<next) != isZeroAlready { break }
            end = next
        }
        return (end, isZeroAlready)
    }

    private func granuleEnd(_ offset: Int64, _ limit: Int64) -> Int64 {
        min((offset / plan.zeroGranule + 1) * plan.zeroGranule, limit)
    }

    /// Whether a piece of a run is zero on both sides, and all that the run has of its granules: a
    /// cluster that is written in part has to be written as far as the run goes.
    private func mayStay(_ index: SlotIndex, _ piece: Range<Int64>) -> Bool {
        let run = slots[index].range
        let granule = plan.zeroGranule
        let isWhole =
            (piece.lowerBound == run.lowerBound || piece.lowerBound % granule == 0)
            && (piece.upperBound == run.upperBound || piece.upperBound % granule == 0)
        return isWhole && isZeroInMemory(index, piece) && isZeroOnTarget(piece)
    }

    func isZeroInMemory(_ index: SlotIndex, _ range: Range<Int64>) -> Bool {
        let start = slots[index].bufferOffset(range.lowerBound)
        return transfers.queue.buffers.isZero(start..<(start + range.count))
    }

    func isZeroOnTarget(_ range: Range<Int64>) -> Bool {
        isFirstPass && plan.targetStartsZero || plan.target.readsAsZero(range)
    }

    /// Makes a range of the target read as zeros from its start on, in the cheapest way there is.
    private mutating func zero(_ range: Range<Int64>, _ index: SlotIndex) throws(StorageError) {
        let kind = job.zeroing.current
        var reach = kind == .writeZeros ? Int64(plan.requestSize) : JobPlan.zeroLimit
        if plan.zeroes != .write {
            if isZeroOnTarget(range) {
                slots[index].cursor = range.upperBound
                job.counters.skipped.count(Int64(range.count))
                return
            }
            let inMap = try plan.target.zeroInMap(range)
            if inMap > 0 {
                slots[index].cursor += inMap
                job.counters.zeroed.count(inMap)
                return
            }
            // The map may do better from its next unit on.
            let unit = plan.target.unit
            if unit > 1 { reach = min(reach, unit - range.lowerBound % unit) }
        }
        let limit = min(range.upperBound, range.lowerBound + reach)
        let extent = try plan.target.place(at: range.lowerBound, limit: limit)
        // Disks zero whole blocks only. An unaligned end is less than a page: writing it is as
        // cheap.
        let isTail = extent.alignment == 1 && plan.target.alignment > 1
        if isTail || kind == .writeZeros {
            start(.writeZeros, plan.targetFile(extent.file), extent, at: range.lowerBound, index)
        } else {
            let file = plan.targetFile(plan.target.controlFile)
            start(kind, file, extent, at: range.lowerBound, index)
        }
    }

    /// Starts a transfer of a slot to the target, and moves the slot's cursor behind it. What moves
    /// bytes is cut to a request: what follows is asked for again, and goes beside it.
    private mutating func start(
        _ kind: Transfer.Kind, _ file: FileIndex, _ extent: HostExtent, at offset: Int64,
        _ index: SlotIndex
    ) {
        let stride =
            kind.isZeroing && kind != .writeZeros ? JobPlan.zeroLimit : Int64(plan.requestSize)
        let range = offset..<(offset + min(extent.length, stride))
        // The last bytes would make a file whole again that something else has truncated, and
        // nothing would tell any more that it has lost others. After them, its size tells.
        let movesBytes = !kind.isZeroing || kind == .writeZeros
        if movesBytes, range.upperBound == plan.target.size,
            let error = shrinkage(of: .target)
        {
            job.control.fail(error)
            giveUp(index)
            return
        }
        slots[index].cursor = range.upperBound
        slots[index].outstanding += 1
        // All else was counted when it was read.
        if kind == .writeZeros { job.control.speed.consume(Int64(range.count)) }
        transfers.start(
            Transfer(
                kind, file: file, owner: .slot(index), range: range,
                hostDelta: extent.hostOffset - offset,
                bufferOffset: slots[index].bufferOffset(offset), alignment: extent.alignment,
                stride: stride))
    }

    /// Takes what a finished read left in the page cache out of it, where files are buffered. There
    /// is room: the transfer that has just ended made it.
    mutating func dropCache(behind transfer: Transfer) {
        // Of compressed bytes there may have been none.
        guard let range = transfer.hostRange else { return }
        transfers.start(.dropCache(transfer.file, range))
    }

    /// The same for what was written, which has to reach the storage first.
    mutating func writeBack(behind transfer: Transfer) {
        guard let range = transfer.hostRange else { return }
        transfers.start(.writeBack(transfer.file, range))
    }

    /// Starts a checkpoint if one is due. It flushes what was written before it, and the copy goes
    /// on meanwhile.
    mutating func startCheckpoint() {
        guard transfers.hasRoom, !job.control.isStopping, job.checkpoints.begin(job.dispenser)
        else { return }
        plan.target.seal()
        transfers.start(.checkpoint(controlFile))
    }

    /// The file that stands for the whole target.
    private var controlFile: FileIndex { plan.targetFile(plan.target.controlFile) }

    /// Brings the target to stable storage. Its failure is final: the kernel reports it once, and
    /// what it dropped can't be known.
    ///
    /// - Parameter isFinal: nothing is written any more.
    mutating func flush(isFinal: Bool) {
        job.waitForCheckpoint()
        // Not after a broken ring, of any worker: what it has in flight may still be written, after
        // the flush, and to where the commit puts something else. After a checkpoint's failed flush
        // another one may succeed, and prove nothing.
        guard !job.hasLostWrites else { return }
        precondition(transfers.inFlight == 0, "a flush would not wait for what is in flight")
        plan.target.seal()
        transfers.start(.flush(controlFile))
        while transfers.inFlight > 0 {
            do throws(RingError) {
                try transfers.wait(timeoutNanoseconds: nil)
            } catch {
                job.lostTrack(error)
                transfers.forsake()
                return
            }
            switch transfers.nextOutcome() {
            case .done: commit(isFinal: isFinal)
            case .undone(_, let cause): job.flushFailed(cause)
            case .finished, .failed, .decompressed:
                preconditionFailure("only the flush is in flight")
            case nil: continue
            }
        }
    }

    /// Makes the target what the job has made of it so far. At the end also after a failure or a
    /// stop: what was written is kept, and an image is closed in order.
    private func commit(isFinal: Bool) {
        do throws(StorageError) {
            try plan.target.commit(isFinal: isFinal)
            if isFinal { job.markFlushed() }
        } catch {
            job.commitFailed(error)
        }
    }
}
