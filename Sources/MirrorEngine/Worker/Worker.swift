internal import BlockStorage
package import Ring

/// One thread's part of a job: a ring, a fixed set of slots, and the copy loop.
///
/// A run lives in a slot. It is read, looked at, and written; each step is split into transfers
/// wherever source or target live in pieces. Nothing here allocates per run.
package struct Worker<Queue: RequestQueue & ~Copyable>: ~Copyable {
    let job: SharedJob
    let plan: JobPlan
    var transfers: TransferQueue<Queue>
    /// Each slot's run is read by the reading of the same number.
    var reader: RunReader
    var slots: [Slot]
    var freeSlots: [SlotIndex]
    var memory: BufferAllocator
    /// Slots that have transfers to start, in the order they got there.
    var backlog: IndexQueue<SlotIndex>
    /// Slots of zero runs that wait for their neighbours.
    var held: [SlotIndex] = []
    /// What failed and waits for the job to be resumed.
    var parked: [Parked] = []
    /// Compressed stretches that are to be read once more.
    var restarts: [CompressedIndex] = []
    /// A run that was taken and has no memory yet.
    var waiting: Run?
    /// The dispenser had no more runs in this pass.
    var isDrained = false
    /// What was known of the target before the job is still so where no run has been: not in a
    /// later pass.
    var isFirstPass = true

    enum Parked {
        /// A transfer that waits for an answer.
        case transfer(TransferIndex)
        /// A buffer whose bytes could not be decompressed.
        case compressed(CompressedIndex)
    }

    /// How long a worker waits before it looks whether somebody wants something of it.
    private static var tick: Int64 { 50_000_000 }
    /// The same of one that waits to be resumed, and is woken then: checkpoints come meanwhile.
    private static var longTick: Int64 { 1_000_000_000 }

    /// - Parameter decompression: a helper of the queue, needed where the source may be compressed.
    package init(
        job: SharedJob, queue: consuming Queue, decompression: (any DecompressionDriver)? = nil
    ) {
        self.job = job
        plan = job.plan
        let depth = job.plan.depth
        transfers = TransferQueue(queue: queue, zeroArea: job.plan.zeroArea)
        reader = RunReader(
            [RunReader.Side(map: job.plan.source, firstFile: 0)], readings: depth,
            compressed: job.plan.layout.compressed, requestSize: job.plan.requestSize,
            decompression: decompression)
        slots = Array(repeating: Slot(), count: depth)
        freeSlots = (0..<depth).reversed().map { SlotIndex($0) }
        memory = BufferAllocator(
            byteCount: job.plan.layout.runBytes, unit: min(64 << 10, job.plan.requestSize))
        backlog = IndexQueue(capacity: depth)
    }

    /// Copies until nothing is left, or the job stops; one worker flushes the target then.
    package mutating func run() {
        job.control.start()
        job.noteStart()
        copyPass()
        loop: while true {
            switch job.next() {
            case .copy:
                isFirstPass = false
                copyPass()
            case .flush(let isFinal): flush(isFinal: isFinal)
            case .wait: rest(Self.tick)
            case .end: break loop
            }
        }
        job.add(retries: transfers.retries, statistics: transfers.queue.statistics)
    }

    /// One sweep over the dirty runs. Returns when nothing is in flight and nothing is left to
    /// start.
    private mutating func copyPass() {
        isDrained = false
        while true {
            transfers.resumes = job.control.resumes
            startCheckpoint()
            let delay = startWork()
            if transfers.inFlight == 0 {
                if isIdle { return }
                if job.control.isStopping {
                    abandonWork()
                    return
                }
                if !parked.isEmpty && !job.control.isPaused {
                    unpark()
                    continue
                }
                rest(min(max(delay, 1_000_000), Self.tick))
                continue
            }
            do throws(RingError) {
                try transfers.wait(
                    timeoutNanoseconds: delay > 0 ? min(delay, Self.tick) : Self.tick)
            } catch {
                job.lostTrack(error)
                transfers.forsake()
                abandonWork()
                return
            }
            while let outcome = transfers.nextOutcome() { handle(outcome) }
            if !parked.isEmpty && !job.control.isPaused { unpark() }
        }
    }

    /// Does nothing for so many nanoseconds; in a paused job, until there is something to do.
    private func rest(_ nanoseconds: Int64) {
        if job.control.isPaused {
            job.control.waitWhilePaused(limit: Self.longTick)
        } else {
            Clock.sleep(nanoseconds: nanoseconds)
        }
    }

    private var isIdle: Bool {
        isDrained && waiting == nil && backlog.isEmpty && parked.isEmpty
            && freeSlots.count == slots.count
    }

    /// Starts as many transfers as there is room for. Returns how long the speed limit says to
    /// wait.
    private mutating func startWork() -> Int64 {
        while transfers.hasRoom && !job.control.isStopping && !job.control.isPaused {
            if let buffer = restarts.popLast() {
                transfers.start(reader.compressed.transfer(buffer))
                continue
            }
            if let slot = backlog.first {
                // Zeros need no read that the limit would have held back.
                if writesZeros(slot) {
                    let delay = job.control.speed.delay(now: Clock.now)
                    if delay > 0 { return delay }
                }
                startNextTransfer(slot)
                continue
            }
            if isDrained || freeSlots.isEmpty {
                if held.isEmpty { return 0 }
                releaseHeldZeros()
                continue
            }
            let delay = job.control.speed.delay(now: Clock.now)
            if delay > 0 { return delay }
            if !startRun() { return 0 }
        }
        return 0
    }

    /// Whether what comes next for a slot is writing zeros as bytes.
    private func writesZeros(_ index: SlotIndex) -> Bool {
        slots[index].isZero && slots[index].phase == .writing
            && job.zeroing.current == .writeZeros
    }

    /// Starts the next run; false if there is none, or no memory for it. It is taken before memory
    /// is: scattered small runs then fit where no request of full size would.
    private mutating func startRun() -> Bool {
        let next: Run?
        do throws(StorageError) {
            next = try nextRun()
        } catch {
            job.control.fail(.storage(error))
            return false
        }
        guard let run = next else {
            // Else it looks again when something has ended, or soon.
            isDrained = !job.dispenser.mayHaveMore
            return false
        }
        var buffer = 0..<0
        if !run.isZero {
            guard let free = memory.allocate(run.range.count) else {
                waiting = run
                return false
            }
            buffer = free
        }
        let index = freeSlots.removeLast()
        var slot = Slot()
        slot.phase = run.isZero ? .writing : .reading
        slot.range = run.range
        slot.cursor = run.range.lowerBound
        slot.isZero = run.isZero
        slot.memory = buffer
        if !run.isZero {
            job.control.speed.consume(Int64(run.range.count))
            reader.begin(index.reading, side: 0, run.range, memory: buffer.lowerBound)
        }
        slots[index] = slot
        enqueue(index)
        return true
    }

    private mutating func nextRun() throws(StorageError) -> Run? {
        if let run = waiting.take() { return run }
        return try job.dispenser.next(
            dataLimit: Int64(plan.runBytes), zeroLimit: JobPlan.zeroLimit)
    }

    mutating func enqueue(_ index: SlotIndex) {
        guard !slots[index].isQueued else { return }
        slots[index].isQueued = true
        backlog.append(index)
    }

    /// Takes the slot at the head of the backlog out of it.
    private mutating func dequeue(_ index: SlotIndex) {
        let first = backlog.popFirst()
        precondition(first == index)
        slots[index].isQueued = false
    }

    /// Starts what comes next for the slot at the head of the backlog.
    private mutating func startNextTransfer(_ index: SlotIndex) {
        var isStarted = false
        do throws(StorageError) {
            switch slots[index].phase {
            case .reading:
                guard try reader.startNext(index.reading, &transfers) else {
                    // It comes back when there is a buffer for it.
                    dequeue(index)
                    return
                }
                isStarted = reader[index.reading].isStarted
            case .writing:
                guard try startWriteOrWait(index) else { return }
                isStarted = slots[index].cursor == slots[index].range.upperBound
            case .free: preconditionFailure("a free slot is in the backlog")
            }
        } catch {
            job.control.fail(.storage(error))
            giveUp(index)
            isStarted = true
        }
        if isStarted {
            dequeue(index)
            advancePhase(index)
        }
    }

    /// Starts nothing more for the slot's run, which stays dirty.
    mutating func giveUp(_ index: SlotIndex) {
        slots[index].isIncomplete = true
        slots[index].cursor = slots[index].range.upperBound
        if slots[index].phase == .reading { reader.giveUp(index.reading) }
    }

    /// Moves a slot on if its phase is over.
    mutating func advancePhase(_ index: SlotIndex) {
        switch slots[index].phase {
        case .free: preconditionFailure("a free slot has nothing to end")
        case .reading:
            guard reader[index.reading].isOver else { return }
            if job.control.isStopping || slots[index].isIncomplete {
                slots[index].isIncomplete = true
                finishRun(index)
                return
            }
            slots[index].phase = .writing
            reader.clearLateZeros(index.reading, transfers.queue.buffers)
            if !holdIfZero(index) { enqueue(index) }
        case .writing:
            if slots[index].isWritten { finishRun(index) }
        }
    }

    private mutating func finishRun(_ index: SlotIndex) {
        let slot = slots[index]
        if slot.isIncomplete {
            job.dispenser.giveBack(slot.range)
        } else {
            // In this order: a checkpoint that takes the run for done must find it written.
            plan.target.wrote(slot.range)
            job.dispenser.complete(slot.range)
            job.counters.done.count(Int64(slot.range.count) - slot.deferredBytes)
        }
        if !slot.memory.isEmpty { memory.release(slot.memory) }
        slots[index] = Slot()
        freeSlots.append(index)
    }

    /// Gives back what was taken and not finished, after a stop.
    private mutating func abandonWork() {
        for case .transfer(let index) in parked { transfers.abandon(index) }
        parked.removeAll()
        held.removeAll()
        restarts.removeAll()
        backlog.removeAll()
        reader.abandonStarved()
        if let run = waiting { job.dispenser.giveBack(run.range) }
        waiting = nil
        for place in slots.indices where slots[place].phase != .free {
            slots[place].isIncomplete = true
            finishRun(SlotIndex(place))
        }
    }
}
