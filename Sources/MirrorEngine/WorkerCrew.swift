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
            if let thread {
                thread.join()
            } else {
                // The system has no more threads. The others do the work.
                _ = job.leave()
            }
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
