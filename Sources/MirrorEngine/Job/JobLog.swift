internal import BitmapStore
internal import BlockStorage
package import Logging
internal import Ring
internal import Synchronization

/// What a job tells its logger: things an operator may want to know, each said once. Nothing here
/// is needed to tell how the job ended; the report does that.
package final class JobLog: Sendable {
    private let logger: Logger?
    private let hasSaidPlainBuffers = Atomic<Bool>(false)
    private let hasSaidNoRing = Atomic<Bool>(false)
    private let hasFewThreads = Atomic<Bool>(false)

    package init(_ logger: Logger?) { self.logger = logger }

    /// Every ring finds the same reason; it is said for the first.
    func plainBuffers(_ reason: String) {
        guard !hasSaidPlainBuffers.exchange(true, ordering: .relaxed) else { return }
        logger?.info("buffers are not registered: \(reason)")
    }

    /// Also the same for every worker.
    func noRing(_ reason: RingError) {
        guard !hasSaidNoRing.exchange(true, ordering: .relaxed) else { return }
        logger?.info("threads do the I/O, at some cost in speed: \(reason)")
    }

    func fewerThreads(wanted: Int, got: Int) {
        hasFewThreads.store(true, ordering: .relaxed)
        logger?.warning(
            "no more threads can be made (ulimit -u, pids.max): the job has \(got) of \(wanted)")
    }

    func zeroing(_ kind: Transfer.Kind, isUnsupportedOn name: String) {
        logger?.info(
            "\(name): no \(kind == .punchHole ? "holes" : "zero ranges") can be made there")
    }

    /// Whoever runs the job sees the pause in its progress, if they have a thread to look with.
    func paused(_ error: MirrorError) {
        let isSeen = !hasFewThreads.load(ordering: .relaxed)
        logger?.log(level: isSeen ? .info : .warning, "paused: \(error.problem)")
    }

    /// Said at once: it costs others more with every second.
    func writersStillHeld(_ error: MirrorError) {
        logger?.error("\(error.problem). \(error.remedy)")
    }

    func writersNotHeld(_ error: MirrorError) {
        logger?.warning("the writers go on, and it is tried again later: \(error.problem)")
    }

    func comparisonTooLong(_ nanoseconds: Int64) {
        let seconds = nanoseconds / 1_000_000_000 + 1
        logger?.warning(
            """
            comparing both sides will take about \(seconds) s, and the writers are not held back \
            for so long: the comparison will probably not be finished
            """)
    }

    func checkpointFailed(_ error: BitmapStoreError) {
        logger?.warning("the progress can't be recorded, so that a stop may lose it: \(error)")
    }

    func contentUnheard(_ error: BitmapStoreError) {
        logger?.warning(
            "bitmaps kept of the image will take what was written for a change: \(error)")
    }

    func marksUnwritten(_ error: MirrorError) {
        logger?.error(
            "bitmaps that are kept of the target do not know all that was written: \(error)")
    }

    func leftBehind(_ error: BitmapStoreError) {
        logger?.info("records of earlier jobs were not looked for: \(error)")
    }

    func retryPass() { logger?.info("trying again what failed") }

    func started(_ plan: JobPlan, bytes: Int64) {
        logger?.debug(
            "mirroring \(bytes) bytes of \(plan.source.name) to \(plan.target.name)",
            metadata: [
                "requestSize": "\(plan.requestSize)", "depth": "\(plan.depth)",
                "bufferBytes": "\(plan.layout.runBytes)",
            ])
    }
}
