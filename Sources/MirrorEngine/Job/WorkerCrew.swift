internal import BlockStorage
package import Ring

/// Runs the workers of a job, each on a thread of its own with a queue that it makes itself, and an
/// decompression where something may be compressed.
package enum WorkerCrew {
    /// One worker from its beginning to its end.
    typealias Work =
        @Sendable (_ decompression: (any DecompressionDriver)?) throws(RingError) -> Void

    /// Returns when every worker has ended. What they did is in `job`.
    package static func run<Queue: RequestQueue & ~Copyable>(
        _ job: SharedJob, workers: Int,
        makeDecompressionDriver:
            @escaping @Sendable () throws(RingError) -> any DecompressionDriver,
        makeQueue:
            @escaping @Sendable (JobPlan, (any DecompressionDriver)?) throws(RingError) -> Queue
    ) {
        run(job, workers: workers, makeDecompressionDriver: makeDecompressionDriver) {
            (decompression) throws(RingError) in
            var worker = Worker(
                job: job, queue: try makeQueue(job.plan, decompression),
                decompression: decompression)
            worker.run()
        }
    }

    /// The same over queues that `method` makes. `note` is told what each became.
    static func run(
        _ job: SharedJob, workers: Int, method: IOMethod,
        makeDecompressionDriver:
            @escaping @Sendable () throws(RingError) -> any DecompressionDriver,
        note: @escaping @Sendable (QueueSetup) -> Void
    ) {
        run(job, workers: workers, makeDecompressionDriver: makeDecompressionDriver) {
            (decompression) throws(RingError) in
            try method.withQueue(
                depth: job.plan.depth, endpoints: job.plan.endpoints, decompression: decompression,
                slabBytes: job.plan.slabBytes, note: note,
                WorkerRun(job: job, decompression: decompression))
        }
    }

    private struct WorkerRun: QueueUser {
        let job: SharedJob
        let decompression: (any DecompressionDriver)?

        func run<Queue: RequestQueue & ~Copyable>(over queue: consuming Queue) {
            var worker = Worker(job: job, queue: queue, decompression: decompression)
            worker.run()
        }
    }

    /// Starts as many workers as there are threads to be had; where one can't be had, the caller's
    /// thread does the work of one. The others that could not be are not missed: each worker takes
    /// what is left, however many they are.
    private static func run(
        _ job: SharedJob, workers: Int,
        makeDecompressionDriver:
            @escaping @Sendable () throws(RingError) -> any DecompressionDriver,
        _ work: @escaping Work
    ) {
        let body: @Sendable () -> Void = {
            do throws(RingError) {
                try work(job.plan.hasCompressed ? try makeDecompressionDriver() : nil)
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
