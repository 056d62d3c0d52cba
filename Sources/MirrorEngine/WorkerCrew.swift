internal import Glibc
package import Ring

/// Runs the workers of a job, each on a thread of its own with a queue that it makes itself, and an
/// unpacker where something may be compressed.
package enum WorkerCrew {
    /// Returns when every worker has ended. What they did is in `job`.
    package static func run<Queue: RequestQueue & ~Copyable>(
        _ job: JobState, workers: Int,
        makeUnpacker: @escaping @Sendable () throws(RingError) -> any Unpacker,
        makeQueue: @escaping @Sendable (JobPlan, (any Unpacker)?) throws(RingError) -> Queue
    ) {
        let threads = (0..<workers).map { _ in
            WorkerThread { work(job, makeUnpacker, makeQueue) }
        }
        for thread in threads {
            guard let thread else {
                job.control.fail(.ring(.systemCall("pthread_create", code: EAGAIN)))
                _ = job.leave()
                continue
            }
            thread.join()
        }
    }

    private static func work<Queue: RequestQueue & ~Copyable>(
        _ job: JobState, _ makeUnpacker: @Sendable () throws(RingError) -> any Unpacker,
        _ makeQueue: @Sendable (JobPlan, (any Unpacker)?) throws(RingError) -> Queue
    ) {
        do throws(RingError) {
            let unpacker = job.plan.hasPacked ? try makeUnpacker() : nil
            let queue = try makeQueue(job.plan, unpacker)
            var worker = Worker(job: job, queue: queue, unpacker: unpacker)
            worker.run()
        } catch {
            job.control.fail(.ring(error))
            _ = job.leave()
        }
    }
}
