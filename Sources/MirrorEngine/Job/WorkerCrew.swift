internal import BlockStorage
package import Ring

/// Runs the workers of a job, each on a thread of its own with a queue that it makes itself, and an
/// unpacker where something may be compressed.
package enum WorkerCrew {
    /// One worker from its beginning to its end.
    typealias Work = @Sendable (_ unpacker: (any Unpacker)?) throws(RingError) -> Void

    /// Returns when every worker has ended. What they did is in `job`.
    package static func run<Queue: RequestQueue & ~Copyable>(
        _ job: JobState, workers: Int,
        makeUnpacker: @escaping @Sendable () throws(RingError) -> any Unpacker,
        makeQueue: @escaping @Sendable (JobPlan, (any Unpacker)?) throws(RingError) -> Queue
    ) {
        run(job, workers: workers, makeUnpacker: makeUnpacker) {
            (unpacker) throws(RingError) in
            var worker = Worker(
                job: job, queue: try makeQueue(job.plan, unpacker), unpacker: unpacker)
            worker.run()
        }
    }

    /// The same over queues that `method` makes. `note` is told what each became.
    static func run(
        _ job: JobState, workers: Int, method: IOMethod,
        makeUnpacker: @escaping @Sendable () throws(RingError) -> any Unpacker,
        note: @escaping @Sendable (QueueSetup) -> Void
    ) {
        run(job, workers: workers, makeUnpacker: makeUnpacker) {
            (unpacker) throws(RingError) in
            try method.withQueue(
                depth: job.plan.depth, endpoints: job.plan.endpoints, unpacker: unpacker,
                slabBytes: job.plan.slabBytes, note: note,
                WorkerRun(job: job, unpacker: unpacker))
        }
    }

    private struct WorkerRun: QueueUser {
        let job: JobState
        let unpacker: (any Unpacker)?

        func run<Queue: RequestQueue & ~Copyable>(over queue: consuming Queue) {
            var worker = Worker(job: job, queue: queue, unpacker: unpacker)
            worker.run()
        }
    }

    /// Starts as many workers as there are threads to be had; where one can't be had, the caller's
    /// thread does the work of one. The others that could not be are not missed: each worker takes
    /// what is left, however many they are.
    private static func run(
        _ job: JobState, workers: Int,
        makeUnpacker: @escaping @Sendable () throws(RingError) -> any Unpacker,
        _ work: @escaping Work
    ) {
        let body: @Sendable () -> Void = {
            do throws(RingError) {
                try work(job.plan.hasPacked ? try makeUnpacker() : nil)
            } catch {
                job.control.fail(.ring(error))
                job.leave()
            }
        }
        let threads = (0..<workers).compactMap { _ in WorkerThread(body) }
        let missing = workers - threads.count
        if missing > 0 {
            job.log.fewerThreads(wanted: workers, got: threads.count)
            // The caller's worker is one of the crew.
            for _ in 1..<missing { job.leave() }
            FileSizeSignal.blocked(body)
        }
        for thread in threads { thread.join() }
    }
}
