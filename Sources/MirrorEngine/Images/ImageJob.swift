internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap
internal import Logging
internal import QCOW2

/// A job inside a chain of images: it copies from one part of the chain to another, and then
/// changes what stands on what.
///
/// `StreamJob` and `CommitJob` open one. One image of the chain, the kept one, reads the same at
/// every moment. Whatever ends the job, nothing of it is lost, unless something else writes it, and
/// another job does the rest.
public final class ImageJob: Job {
    /// What it does, `stream` or `commit`.
    public let kind: JobKind
    /// What is read.
    public let source: Disk
    /// The image that is written.
    public let target: Disk
    /// The copying. It has the phases of the whole job, and ends with it.
    public let job: MirrorJob

    /// The image that reads the same at every moment, whatever becomes of the job.
    public var kept: Disk { ending.kept }

    private let ending: Ending
    /// All files of the kept image before the first write.
    private let before: [WriteWitness]
    private let log: JobLog

    /// What a job does when all is copied, and what it looks at then.
    struct Ending: Sendable {
        /// What is only read. If something else writes it, the copy may be of no one moment.
        let watch: WriteWatch
        /// Whose paths have to lead to them still.
        let places: [StorageDevice]
        /// The image that reads the same before and after.
        let kept: Disk
        /// How many of its files are written, the first ones.
        let writtenFiles: Int
        /// How many of those that follow it needs no more when the job has succeeded.
        let droppedFiles: Int
        /// Changes what stands on what, when all is on stable storage.
        let run: @Sendable () throws(StorageError) -> Void
    }

    init(
        _ plan: consuming ImageJobPlan, options: MirrorOptions, logger: Logger?
    ) throws(MirrorError) {
        // What was copied has to be kept now and then, so that an interrupted job was not in vain.
        job = try MirrorJob(
            from: plan.source, to: plan.target, working: plan.working.copy(), options: options,
            checkpoints: Checkpoints(every: 5_000_000_000), logger: logger)
        kind = plan.kind
        source = plan.source
        target = plan.target
        before = plan.before ?? plan.ending.kept.freshWitness()
        ending = plan.ending
        log = JobLog(logger)
    }

    /// The one of its copying.
    public var id: JobID { job.id }

    /// Where the job is, from its making until what follows the copying is done.
    public var phase: JobPhase { job.phase }

    /// How far the copying is.
    public var progress: JobProgress { job.progress }

    /// The one of the copying.
    public var speedLimit: Int64? { job.speedLimit }

    /// Does what a verb asks for, from any thread.
    ///
    /// - Throws: if it means nothing in the phase that the job was in: it has no effect then.
    public func apply(_ verb: JobVerb) throws(JobVerbError) {
        try requireKind(allows: verb)
        try job.apply(verb)
    }

    /// Stops the job: what is in flight completes and is flushed, the rest stays undone.
    public func cancel() { job.cancel() }

    /// Copies and, once that is on stable storage, does what follows from it.
    public func runAndWait() -> ImageJobReport {
        defer { job.control.end() }
        let written = written
        written.watchWriters()
        defer { written.endWatch() }
        let report = job.copy()
        job.control.settle()
        var doubts: [MirrorEvidence] = []
        let ended = ImageJobReport(
            report, of: kind, doubts: { doubts + written.doubtsAboutWriters() },
            check: { () throws(MirrorError) in
                // What follows makes something else the only one that has the bytes.
                for file in written {
                    if let how = [file].doubtsAboutWriters().opening {
                        throw .openedMeanwhile(target: file.path, how: how)
                    }
                }
                for device in ending.places { try device.requireInPlace() }
                try written.requireNoOtherWriter()
                doubts = try ending.watch.doubts()
                _ = try job.markWritten()
            },
            ending: { () throws(MirrorError) in
                do throws(StorageError) { try ending.run() } catch { throw .storage(error) }
                try written.requireNoOtherWriter()
            })
        if written.mayHaveOtherWriter || !ended.mirror.outcome.isMirrored {
            do throws(MirrorError) { _ = try job.markWritten() } catch { log.marksUnwritten(error) }
        }
        // What something else may have written has to show.
        if !written.mayHaveOtherWriter {
            renewWitness(isDone: ended.mirror.outcome.isMirrored)
        }
        return ended
    }

    /// The files that the job writes. Of a commit both sides have some, and share some.
    private var written: [StorageDevice] {
        var files: [StorageDevice] = []
        for device in target.devices + source.devices
        where device.access == .readWrite && !files.contains(where: { $0 === device }) {
            files.append(device)
        }
        return files
    }

    /// The kept image reads as it did: to the bitmaps that are kept of it, nothing of it was
    /// written.
    ///
    /// - Parameter isDone: it needs no more what it is to need no more.
    private func renewWitness(isDone: Bool) {
        let written = ending.kept.devices.prefix(ending.writtenFiles).map { $0.witness() }
        // The others were only read. What something else writes to them has to show.
        let others = before.dropFirst(ending.writtenFiles + (isDone ? ending.droppedFiles : 0))
        do throws(BitmapStoreError) {
            try TargetMarks.renewSourceWitness(of: ending.kept, before, written + others)
        } catch {
            log.contentUnheard(error)
        }
        for look in written { look.waitUntilWritesShow() }
    }
}

/// What a job inside a chain of images is to do, with everything open that it needs.
struct ImageJobPlan: ~Copyable {
    let kind: JobKind
    let source, target: Disk
    /// What is to be copied.
    let working: DirtyBitmap
    /// All files of the kept image, where they have to be looked at before they are opened.
    var before: [WriteWitness]?
    let ending: ImageJob.Ending

    /// Makes a plan, with direct access to the files where that can be.
    ///
    /// - Parameter make: makes the plan; nil if the blocks of a device are larger than what an
    ///   image allocates. A job would then read or write more than it should beside what it copies:
    ///   it has to go through the page cache.
    static func fitting(
        _ make: (CacheChoice) throws(StorageError) -> ImageJobPlan?
    ) throws(MirrorError) -> ImageJobPlan {
        do throws(StorageError) {
            if let plan = try make(.automatic) { return plan }
            guard let plan = try make(.buffered) else {
                preconditionFailure("the page cache takes requests of any length")
            }
            return plan
        } catch {
            throw .storage(error)
        }
    }
}

extension ImageChain {
    /// The largest block of the devices that the chain is on, in bytes.
    var blockSize: Int64 { Int64(devices.map(\.geometry.offsetAlignment).max() ?? 1) }

    /// Refuses an image whose snapshots would show something else afterwards.
    ///
    /// - Parameter which: what the snapshots do.
    func requireNoSnapshots(_ which: String) throws(StorageError) {
        guard let snapshot = top.snapshots.first else { return }
        throw .image(
            ImageProblem(
                .refused, top.path,
                "it has snapshots inside \(which), such as '\(snapshot.name)', and they would "
                    + "read differently afterwards",
                remedy: "`qemu-img snapshot -d` removes those that are not needed; or "
                    + "\(.mirrorInFull) to have a copy."))
    }
}
