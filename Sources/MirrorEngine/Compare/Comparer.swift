internal import BlockStorage
package import Ring

/// Reads the same runs of two disks through one ring, and marks what differs.
package struct Comparer<Queue: RequestQueue & ~Copyable>: ~Copyable {
    private let job: SharedComparison
    private var transfers: TransferQueue<Queue>
    private var reader: RunReader
    private var slots: [Slot]
    private var free: [SlotIndex]
    /// Readings that have reads to start, in the order they got there.
    private var backlog: IndexQueue<ReadingIndex>
    /// The dispenser had no more runs.
    private var isDrained = false
    /// When it was last asked whether the comparison still proves anything.
    private var lookedAt = Int64.min

    /// One run, in two halves of memory.
    private struct Slot {
        var range: Range<Int64> = 0..<0
        let memory: (Int, Int)
    }

    private static var tick: Int64 { 50_000_000 }

    /// - Parameter decompression: needed where a side may be compressed; a helper of the queue.
    package init(
        job: SharedComparison, queue: consuming Queue,
        decompression: (any DecompressionDriver)? = nil
    ) {
        self.job = job
        transfers = TransferQueue(queue: queue, zeroArea: 0..<0)
        let sides = [
            RunReader.Side(map: job.pair.first, firstFile: 0),
            RunReader.Side(
                map: job.pair.second, firstFile: job.pair.first.endpoints.count),
        ]
        reader = RunReader(
            sides, readings: 2 * job.depth, compressed: job.compressed,
            requestSize: job.requestSize,
            decompression: decompression)
        slots = (0..<job.depth).map {
            Slot(memory: ($0 * 2 * job.runBytes, ($0 * 2 + 1) * job.runBytes))
        }
        free = (0..<job.depth).reversed().map { SlotIndex($0) }
        backlog = IndexQueue(capacity: 2 * job.depth)
    }

    var statistics: QueueStatistics { transfers.queue.statistics }

    /// Compares until nothing is left, or somebody stops it.
    package mutating func run() {
        guard dropCaches() else { return }
        while true {
            stopIfPointless()
            let delay = startWork()
            if transfers.inFlight == 0 {
                // With nothing on its way no run waits for a buffer either.
                let isOver = job.control.isStopping || isDrained && free.count == slots.count
                guard !isOver else { return }
                precondition(delay > 0, "a comparison ends before all was compared")
                Clock.sleep(nanoseconds: min(delay, Self.tick))
                continue
            }
            guard wait(delay > 0 ? min(delay, Self.tick) : Self.tick) else { return }
        }
    }

    private mutating func stopIfPointless() {
        guard let interruption = job.purpose.interruption, !job.control.isStopping else { return }
        let now = Clock.now
        guard lookedAt == .min || now - lookedAt >= Self.tick else { return }
        lookedAt = now
        if let error = interruption() { job.control.fail(error) }
    }

    /// Waits for something to end, and goes on with it; false if the queue broke.
    private mutating func wait(_ nanoseconds: Int64 = tick) -> Bool {
        do throws(RingError) {
            try transfers.wait(timeoutNanoseconds: nanoseconds)
        } catch {
            job.control.fail(.ring(error))
            transfers.forsake()
            return false
        }
        while let outcome = transfers.nextOutcome() { handle(outcome) }
        return true
    }

    /// What the page cache has proves nothing about the disks.
    private mutating func dropCaches() -> Bool {
        for (side, buffered) in [(0, job.isBuffered.0), (1, job.isBuffered.1)] where buffered {
            let first = job.pair.first.endpoints.count
            let files = side == 0 ? 0..<first : first..<job.pair.endpoints.count
            for file in files {
                while !transfers.hasRoom { guard wait() else { return false } }
                // All of a file, however long it is.
                transfers.start(.dropCache(FileIndex(UInt32(file)), 0..<Int64.max))
            }
        }
        while transfers.inFlight > 0 { guard wait() else { return false } }
        return true
    }

    /// Starts as many reads as there is room for. Returns how long to wait at most before more may
    /// be started, in nanoseconds; 0 if only the end of something makes room for more.
    private mutating func startWork() -> Int64 {
        while transfers.hasRoom, !job.control.isStopping {
            if job.purpose.isPaced, job.control.isPaused { return Self.tick }
            if let index = backlog.first {
                startNextRead(index)
                continue
            }
            guard !isDrained, let index = free.last else { return 0 }
            if job.purpose.isPaced {
                let delay = job.control.speed.delay(now: Clock.now)
                if delay > 0 { return delay }
            }
            startRun(index)
        }
        return 0
    }

    /// Gives a slot the next run that has anything to read.
    private mutating func startRun(_ index: SlotIndex) {
        let next: Run?
        do throws(StorageError) {
            next = try job.dispenser.next(
                dataLimit: Int64(job.runBytes), zeroLimit: JobPlan.zeroLimit)
        } catch {
            job.control.fail(.storage(error))
            return
        }
        // Nobody else asks, so that there is no more.
        guard let run = next else {
            isDrained = true
            return
        }
        if run.isZero {
            job.dispenser.complete(run.range)
            job.counters.done.count(Int64(run.range.count))
            return
        }
        free.removeLast()
        if job.purpose.isPaced { job.control.speed.consume(Int64(run.range.count)) }
        let slot = index.rawValue
        slots[slot].range = run.range
        reader.begin(index.first, side: 0, run.range, memory: slots[slot].memory.0)
        reader.begin(index.second, side: 1, run.range, memory: slots[slot].memory.1)
        backlog.append(index.first)
        backlog.append(index.second)
    }

    /// Starts what comes next for the reading at the head of the backlog.
    private mutating func startNextRead(_ index: ReadingIndex) {
        do throws(StorageError) {
            guard try reader.startNext(index, &transfers) else {
                // It comes back when there is a buffer for it.
                _ = backlog.popFirst()
                return
            }
        } catch {
            job.control.fail(.storage(error))
            return
        }
        guard reader[index].isStarted else { return }
        _ = backlog.popFirst()
        settle(index.pair)
    }

    private mutating func handle(_ outcome: Outcome) {
        switch outcome {
        case .finished(let transfer):
            switch transfer.owner {
            case .compressed(let index): reader.decompress(index, transfer, transfers.queue.buffers)
            case .reading(let index):
                job.counters.read.count(transfer.end - transfer.start)
                finishPart(index)
            case .slot: preconditionFailure("a comparison writes nothing")
            }
        case .failed(let index, let transfer, let cause, let count):
            transfers.abandon(index)
            switch transfer.owner {
            case .compressed(let index): failCompressed(index, cause)
            case .reading(let index):
                fail(
                    index, transfer.position..<(transfer.position + count), cause,
                    unread: transfer.position..<transfer.end)
                finishPart(index)
            case .slot: preconditionFailure("a comparison writes nothing")
            }
        case .decompressed(let index, let isGood):
            guard isGood else { return failCompressed(index, .corruptData) }
            job.counters.read.count(Int64(reader.compressed[index].range.count))
            finishCompressed(index)
        case .done: break
        case .undone: preconditionFailure("a hint does not fail")
        }
    }

    /// Ends the comparison because bytes of a side can't be had, or takes all that was to be read
    /// with them for different.
    private func fail(
        _ index: ReadingIndex, _ range: Range<Int64>, _ cause: FailureCause, unread: Range<Int64>
    ) {
        let isFirst = reader[index].side == 0
        let map = isFirst ? job.pair.first : job.pair.second
        let side: MirrorSide = isFirst ? .source : .target
        let shrinkage = map.shrinkage(side)
        if shrinkage == nil, job.purpose.acceptsUnreadable(side) { return job.note(unread: unread) }
        job.control.fail(
            shrinkage
                ?? .transfer(
                    side, name: map.name, verb: Transfer.Kind.read.verb,
                    offset: range.lowerBound, count: Int64(range.count), cause: cause))
    }

    private mutating func failCompressed(_ index: CompressedIndex, _ cause: FailureCause) {
        let entry = reader.compressed[index]
        fail(entry.owner, entry.range, cause, unread: entry.range)
        finishCompressed(index)
    }

    private mutating func finishPart(_ index: ReadingIndex) {
        reader.finishPart(index)
        settle(index.pair)
    }

    /// Gives a buffer back, to the reading that has waited longest for one.
    private mutating func finishCompressed(_ index: CompressedIndex) {
        let owner = reader.compressed[index].owner
        if let next = reader.finishCompressed(index) { backlog.prepend(next) }
        settle(owner.pair)
    }

    /// Compares a run if both sides are in memory, and makes room for the next.
    private mutating func settle(_ index: SlotIndex) {
        guard reader[index.first].isOver, reader[index.second].isOver else { return }
        let slot = slots[index.rawValue]
        let buffers = transfers.queue.buffers
        reader.clearLateZeros(index.first, buffers)
        reader.clearLateZeros(index.second, buffers)
        if job.control.isStopping {
            // Some of it may not have been read.
            job.dispenser.giveBack(slot.range)
        } else {
            compare(slot)
            job.dispenser.complete(slot.range)
        }
        free.append(index)
    }

    private func compare(_ slot: Slot) {
        let buffers = transfers.queue.buffers
        let count = slot.range.count
        let found = buffers.withBytes(slot.memory.0..<(slot.memory.0 + count)) { first in
            buffers.withBytes(slot.memory.1..<(slot.memory.1 + count)) { second in
                differences(first, second)
            }
        }
        job.counters.done.count(Int64(count))
        guard let firstOffset = found.firstOffset else { return }
        job.note(
            differing: found.count, firstAt: slot.range.lowerBound + Int64(firstOffset),
            in: slot.range
        ) { cluster in
            let low = Int(cluster.lowerBound - slot.range.lowerBound)
            let part = low..<(low + cluster.count)
            return buffers.withBytes(
                (slot.memory.0 + part.lowerBound)..<(slot.memory.0 + part.upperBound)
            ) {
                first in
                buffers.withBytes(
                    (slot.memory.1 + part.lowerBound)..<(slot.memory.1 + part.upperBound)
                ) { second in differences(first, second).firstOffset != nil }
            }
        }
    }
}

extension SlotIndex {
    /// The reading of a slot's first side.
    fileprivate var first: ReadingIndex { ReadingIndex(rawValue * 2) }
    /// The reading of its second side.
    fileprivate var second: ReadingIndex { ReadingIndex(rawValue * 2 + 1) }
}

extension ReadingIndex {
    /// The slot whose run this is one side of.
    fileprivate var pair: SlotIndex { SlotIndex(rawValue / 2) }
}
