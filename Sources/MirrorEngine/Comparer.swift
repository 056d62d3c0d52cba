internal import BlockStorage
package import Ring

/// Reads the same runs of two disks through one ring, and marks what differs.
package struct Comparer<Queue: RequestQueue & ~Copyable>: ~Copyable {
    private let job: CompareState
    private var transfers: TransferQueue<Queue>
    private var slots: [Slot]
    private var free: [Int]

    /// One run, in two halves of memory.
    private struct Slot {
        var range: Range<Int64> = 0..<0
        var cursors: (Int64, Int64) = (0, 0)
        var outstanding = 0
        var memory: (Int, Int) = (0, 0)
    }

    private static var tick: Int64 { 50_000_000 }

    package init(job: CompareState, queue: consuming Queue) {
        self.job = job
        transfers = TransferQueue(queue: queue, zeroArea: 0..<0)
        slots = (0..<job.depth).map { index in
            var slot = Slot()
            slot.memory = (index * 2 * job.requestSize, (index * 2 + 1) * job.requestSize)
            return slot
        }
        free = Array((0..<job.depth).reversed())
    }

    var statistics: QueueStatistics { transfers.queue.statistics }

    /// Compares until nothing is left, or somebody stops it.
    package mutating func run() {
        dropCaches()
        while true {
            let mayGoOn = startRuns()
            if transfers.inFlight == 0 {
                if !mayGoOn || job.control.isStopping { return }
                Clock.sleep(nanoseconds: 1_000_000)
                continue
            }
            do throws(RingError) {
                try transfers.wait(timeoutNanoseconds: Self.tick)
            } catch {
                job.control.fail(.ring(error))
                transfers.forsake()
                return
            }
            while let outcome = transfers.nextOutcome() { handle(outcome) }
        }
    }

    /// What the page cache has proves nothing about the disks.
    private mutating func dropCaches() {
        for (side, buffered) in [(0, job.isBuffered.0), (1, job.isBuffered.1)] where buffered {
            transfers.start(
                Transfer(
                    .dropCache, file: file(0, side), owner: -1, range: 0..<job.pair.size,
                    alignment: 1, stride: job.pair.size))
        }
    }

    /// False when there is nothing more to start.
    private mutating func startRuns() -> Bool {
        while !job.control.isStopping {
            // Two reads a run, and each may go on in as many pieces as its map has.
            guard let index = free.last, transfers.inFlight + 2 <= transfers.queue.depth else {
                return true
            }
            let next: Run?
            do throws(StorageError) {
                next = try job.dispenser.next(
                    dataLimit: Int64(job.requestSize), zeroLimit: JobPlan.zeroLimit)
            } catch {
                job.control.fail(.storage(error))
                return false
            }
            guard let run = next else { return false }
            if run.isZero {
                job.dispenser.complete(run.range)
                job.counters.done.count(Int64(run.range.count))
                continue
            }
            free.removeLast()
            slots[index].range = run.range
            slots[index].cursors = (run.range.lowerBound, run.range.lowerBound)
            startRead(index, side: 0)
            startRead(index, side: 1)
        }
        return false
    }

    /// Starts the next read of one side; the one after it starts when this has ended.
    private mutating func startRead(_ index: Int, side: Int) {
        let slot = slots[index]
        let offset = side == 0 ? slot.cursors.0 : slot.cursors.1
        guard offset < slot.range.upperBound, !job.control.isStopping else { return }
        let map = side == 0 ? job.pair.first : job.pair.second
        let extent: HostExtent
        do throws(StorageError) {
            guard
                case .stored(let stored) = try map.locate(
                    at: offset, limit: slot.range.upperBound)
            else { preconditionFailure("only raw disks so far") }
            extent = stored
        } catch {
            job.control.fail(.storage(error))
            return
        }
        let end = offset + extent.length
        if side == 0 { slots[index].cursors.0 = end } else { slots[index].cursors.1 = end }
        slots[index].outstanding += 1
        let memory = side == 0 ? slot.memory.0 : slot.memory.1
        transfers.start(
            Transfer(
                .read, file: file(extent.file, side), owner: index * 2 + side,
                range: offset..<end, hostDelta: extent.hostOffset - offset,
                bufferOffset: memory + Int(offset - slot.range.lowerBound),
                alignment: extent.alignment, stride: Int64(job.requestSize)))
    }

    private func file(_ index: Int, _ side: Int) -> FileIndex {
        FileIndex(UInt32(index + (side == 0 ? 0 : job.pair.first.descriptors.count)))
    }

    private mutating func handle(_ outcome: Outcome) {
        switch outcome {
        case .finished(let transfer):
            guard transfer.owner >= 0 else { return }
            job.counters.read.count(transfer.end - transfer.start)
            finishRead(transfer.owner)
        case .failed(let index, let transfer, let cause, let count):
            transfers.abandon(index)
            let map = transfer.owner & 1 == 0 ? job.pair.first : job.pair.second
            job.control.fail(failure(map, transfer, cause, count))
            finishRead(transfer.owner)
        }
    }

    private func failure(
        _ map: any SourceMap, _ transfer: Transfer, _ cause: FailureCause, _ count: Int64
    ) -> MirrorError {
        let side: MirrorSide = transfer.owner & 1 == 0 ? .source : .target
        do throws(StorageError) {
            if let change = try map.sizeChange() {
                return .shrank(side, name: map.name, from: change.from, to: change.to)
            }
        } catch {
            return .storage(error)
        }
        return .transfer(
            side, name: map.name, verb: "reading", offset: transfer.position, count: count,
            cause: cause)
    }

    private mutating func finishRead(_ owner: Int) {
        let index = owner / 2
        slots[index].outstanding -= 1
        startRead(index, side: owner & 1)
        let slot = slots[index]
        guard slot.outstanding == 0 else { return }
        if slot.cursors == (slot.range.upperBound, slot.range.upperBound), !job.control.isStopping {
            compare(slot)
        }
        job.dispenser.complete(slot.range)
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
