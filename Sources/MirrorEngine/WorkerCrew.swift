internal import Glibc
package import Ring

/// Runs the workers of a job, each on a thread of its own with a queue that it makes itself.
package enum WorkerCrew {
    /// Returns when every worker has ended. What they did is in `job`.
    package static func run<Queue: RequestQueue & ~Copyable>(
        _ job: JobState, workers: Int,
        makeQueue: @escaping @Sendable (JobPlan) throws(RingError) -> Queue
    ) {
        let threads = (0..<workers).map { _ in
            WorkerThread { work(job, makeQueue) }
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
        _ job: JobState, _ makeQueue: @Sendable (JobPlan) throws(RingError) -> Queue
    ) {
        do throws(RingError) {
            let queue = try makeQueue(job.plan)
            var worker = Worker(job: job, queue: queue)
            worker.run()
        } catch {
            job.control.fail(.ring(error))
            _ = job.leave()
        }
    }
}
