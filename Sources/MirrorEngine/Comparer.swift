internal import BlockStorage
package import Ring

/// Reads the same runs of two disks through one ring, and marks what differs.
package struct Comparer<Queue: RequestQueue & ~Copyable>: ~Copyable {
    private let job: CompareState
    private var transfers: TransferQueue<Queue>
    private var packed: PackedReads
    private var slots: [Slot]
    private var free: [Int]
    /// Sides whose next bytes are compressed, and for which there was no buffer.
    private var starved: IndexQueue

    /// One run, in two halves of memory.
    private struct Slot {
        var range: Range<Int64> = 0..<0
        var cursors: (Int64, Int64) = (0, 0)
        /// Sides that wait for bytes: a read, a decompression, or a buffer for one.
        var outstanding = 0
        var memory: (Int, Int) = (0, 0)
    }

    private static var tick: Int64 { 50_000_000 }
    /// The owner of transfers that belong to no slot.
    private static var noOwner: Int { -1 }

    /// - Parameter unpacker: needed where a side may be compressed. Its descriptor is the queue's
    ///   file behind those of both sides.
    package init(
        job: CompareState, queue: consuming Queue, unpacker: (any Unpacker)? = nil
    ) {
        self.job = job
        transfers = TransferQueue(queue: queue, zeroArea: 0..<0, mayPoll: job.hasPacked)
        packed = PackedReads(
            job.packed, requestSize: job.requestSize, unpacker: unpacker,
            bell: job.pair.descriptors.count)
        slots = (0..<job.depth).map { index in
            var slot = Slot()
            slot.memory = (index * 2 * job.runBytes, (index * 2 + 1) * job.runBytes)
            return slot
        }
        free = Array((0..<job.depth).reversed())
        starved = IndexQueue(capacity: 2 * job.depth)
    }

    var statistics: QueueStatistics { transfers.queue.statistics }

    /// Compares until nothing is left, or somebody stops it.
    package mutating func run() {
        guard dropCaches() else { return }
        while true {
            let mayGoOn = startRuns()
            if transfers.inFlight == 0 {
                // The poll of what is being decompressed is in flight, unless it has failed.
                if packed.unpacking == 0 && (!mayGoOn || job.control.isStopping) { return }
                Clock.sleep(nanoseconds: 1_000_000)
                collectUnpacked()
                continue
            }
            guard wait() else { return }
        }
    }

    /// Waits for something to end, and goes on with it; false if the queue broke.
    private mutating func wait() -> Bool {
        do throws(RingError) {
            try transfers.wait(timeoutNanoseconds: Self.tick)
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
            let map = side == 0 ? job.pair.first : job.pair.second
            for index in map.descriptors.indices {
                while !transfers.hasRoom { guard wait() else { return false } }
                // All of a file, however long it is.
                transfers.start(
                    Transfer(
                        .dropCache, file: file(index, side), owner: Self.noOwner,
                        range: 0..<Int64.max, alignment: 1, stride: .max))
            }
        }
        while transfers.inFlight > 0 { guard wait() else { return false } }
        return true
    }

    /// False when there is nothing more to start.
    private mutating func startRuns() -> Bool {
        while !job.control.isStopping {
            guard let index = free.last else { return true }
            let next: Run?
            do throws(StorageError) {
                next = try job.dispenser.next(
                    dataLimit: Int64(job.runBytes), zeroLimit: JobPlan.zeroLimit)
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
            startRead(index * 2)
            startRead(index * 2 + 1)
            settle(index)
        }
        return false
    }

    /// Starts the next read of one side of a slot; the one after it starts when this has ended.
    private mutating func startRead(_ owner: Int) {
        let index = owner / 2
        let side = owner & 1
        let slot = slots[index]
        let memory = side == 0 ? slot.memory.0 : slot.memory.1
        let map = side == 0 ? job.pair.first : job.pair.second
        var offset = side == 0 ? slot.cursors.0 : slot.cursors.1
        while offset < slot.range.upperBound, !job.control.isStopping {
            let place: SourcePlace
            do throws(StorageError) {
                place = try map.locate(at: offset, limit: slot.range.upperBound)
            } catch {
                job.control.fail(.storage(error))
                return
            }
            let range = offset..<(offset + place.length)
            let start = memory + Int(offset - slot.range.lowerBound)
            let output = start..<(start + range.count)
            offset = range.upperBound
            switch place {
            case .zero:
                transfers.queue.buffers.clear(output)
                moveCursor(owner, to: offset)
                continue
            case .stored(let extent):
                transfers.start(
                    Transfer(
                        .read, file: file(extent.file, side), owner: owner, range: range,
                        hostDelta: extent.hostOffset - range.lowerBound, bufferOffset: start,
                        alignment: extent.alignment, stride: Int64(job.requestSize)))
                moveCursor(owner, to: offset)
            case .compressed(let extent):
                if packed.hasRoom {
                    let entry = PackedReads.Entry(
                        owner: owner, file: file(extent.file, side), extent: extent, range: range,
                        output: output)
                    let buffer = packed.add(entry)
                    transfers.start(packed.transfer(buffer))
                    moveCursor(owner, to: offset)
                } else {
                    starved.append(owner)
                }
            }
            slots[index].outstanding += 1
            return
        }
    }

    private mutating func moveCursor(_ owner: Int, to offset: Int64) {
        if owner & 1 == 0 {
            slots[owner / 2].cursors.0 = offset
        } else {
            slots[owner / 2].cursors.1 = offset
        }
    }

    private func file(_ index: Int, _ side: Int) -> FileIndex {
        FileIndex(UInt32(index + (side == 0 ? 0 : job.pair.first.descriptors.count)))
    }

    private mutating func handle(_ outcome: Outcome) {
        switch outcome {
        case .finished(let transfer):
            switch transfer.kind {
            case .poll: collectUnpacked()
            case .readPacked:
                packed.unpack(transfer, in: transfers.queue.buffers)
                pollUnpacker()
            case .read:
                job.counters.read.count(transfer.end - transfer.start)
                finishPart(transfer.owner)
            default: break
            }
        case .failed(let index, let transfer, let cause, let count):
            transfers.abandon(index)
            switch transfer.kind {
            case .poll:
                job.control.fail(.ring(.systemCall("IORING_OP_POLL_ADD", code: cause.code)))
            case .readPacked:
                fail(transfer.owner, cause)
            default:
                fail(transfer.owner, transfer.position..<(transfer.position + count), cause)
                finishPart(transfer.owner)
            }
        }
    }

    /// Ends the comparison because bytes of a side can't be had.
    private func fail(_ owner: Int, _ range: Range<Int64>, _ cause: FailureCause) {
        let map = owner & 1 == 0 ? job.pair.first : job.pair.second
        let side: MirrorSide = owner & 1 == 0 ? .source : .target
        do throws(StorageError) {
            if let change = try map.sizeChange() {
                job.control.fail(
                    .shrank(side, name: map.name, from: change.from, to: change.to))
                return
            }
        } catch {
            job.control.fail(.storage(error))
            return
        }
        job.control.fail(
            .transfer(
                side, name: map.name, verb: Transfer.Kind.read.verb, offset: range.lowerBound,
                count: Int64(range.count), cause: cause))
    }

    /// Starts the next read of a side whose last one has ended.
    private mutating func finishPart(_ owner: Int) {
        slots[owner / 2].outstanding -= 1
        startRead(owner)
        settle(owner / 2)
    }

    /// Compares a run if both sides are in memory, and makes room for the next.
    private mutating func settle(_ index: Int) {
        let slot = slots[index]
        guard slot.outstanding == 0 else { return }
        if slot.cursors == (slot.range.upperBound, slot.range.upperBound), !job.control.isStopping {
            compare(slot)
        }
        job.dispenser.complete(slot.range)
        free.append(index)
    }

    // MARK: compressed bytes

    /// The poll has a place of its own, so that this can't fail.
    private mutating func pollUnpacker() {
        if packed.unpacking > 0 && !transfers.isPolling { transfers.start(packed.poll) }
    }

    private mutating func collectUnpacked() {
        packed.acknowledge()
        while let (buffer, isGood) = packed.nextEnd() {
            if isGood {
                job.counters.read.count(Int64(packed[buffer].range.count))
                finishPacked(buffer)
            } else {
                fail(buffer, .corruptData)
            }
        }
        pollUnpacker()
    }

    private mutating func fail(_ buffer: Int, _ cause: FailureCause) {
        fail(packed[buffer].owner, packed[buffer].range, cause)
        finishPacked(buffer)
    }

    /// Gives a buffer back, to whoever has waited longest for one.
    private mutating func finishPacked(_ buffer: Int) {
        let owner = packed.remove(buffer).owner
        if starved.count > 0 { finishPart(starved.removeFirst()) }
        finishPart(owner)
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
