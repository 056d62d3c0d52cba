internal import BitmapStore
public import BlockStorage
internal import DirtyBitmap
internal import QCOW2
public import SystemPackage

extension RecordedMirror {
    /// How a recorded mirror ended.
    public struct Report: Sendable {
        /// What the job did.
        public let mirror: MirrorReport
        /// What was compared before the copy, to find what differs; nil if nothing was.
        public internal(set) var differences: CompareReport?
        /// What was compared after the copy; nil if nothing was.
        public internal(set) var comparison: CompareReport?
        /// What may be said of the target.
        public internal(set) var claim: MirrorClaim
        /// What to mend before the partition table that was copied serves; nil: nothing.
        public internal(set) var partitionTableNote: PartitionTableNote?
        /// The store that has a record to go on from; nil if there is none.
        public internal(set) var resumableFrom: FilePath?
        /// Bytes that resuming would not have to copy again.
        public internal(set) var saved: Int64 = 0
        /// Why the end could not be recorded: the bitmap is as it was, and says more than need be.
        public internal(set) var recordError: MirrorError?
        /// What was to be done besides, and was not. The target is what the claim says all the
        /// same.
        public internal(set) var shortfalls: [MirrorError] = []

        init(
            _ mirror: MirrorReport,
            _ claim: MirrorClaim = MirrorClaim(kind: .notAMirror, evidence: [])
        ) {
            self.mirror = mirror
            self.claim = claim
        }
    }

    /// Settles bitmap and record after a success: the store first, which then says what may be
    /// cleared in the image.
    func recordSuccess(
        _ report: MirrorReport, _ look: EndLook, _ comparison: CompareReport?,
        _ claim: MirrorClaim
    ) -> Report {
        var result = Report(report, claim)
        result.differences = finder?.report
        result.comparison = comparison
        result.partitionTableNote = source.partitionTableNote(copiedTo: target)
        do throws(BitmapStoreError) {
            if let record = try writer.close(isNeeded: false) {
                let cleared = try record.finish(
                    .success, sourceWitness: look.sourceWitness,
                    targetWitness: look.targetWitness, sourceUnchanged: look.isSourceUnchanged,
                    doubts: claim.evidence.lastingDoubts, isProven: isProof(claim))
                try clear(cleared, &result)
            } else if let imageMarks, self.record.bitmapMode != .never {
                // There is no store, and so no other target that could lack what is cleared.
                try clear(imageMarks.bits.copy(), &result)
            }
        } catch {
            result.recordError = .store(error)
        }
        unlessUnusable { () throws(BitmapStoreError) in
            try noteUnrecorded(
                .success, look.targetWitness, sourceUnchanged: look.isSourceUnchanged,
                doubts: claim.evidence.lastingDoubts, isProven: isProof(claim))
        }
        return result
    }

    private func clear(
        _ bits: consuming DirtyBitmap?, _ result: inout Report
    ) throws(BitmapStoreError) {
        guard let imageMarks, let bits = bits.take() else { return }
        let store = try records.existing(for: source.identity)
        do throws(MirrorError) {
            try source.changeBitmaps(heardBy: store) { (bitmaps) throws(StorageError) in
                try bitmaps.subtract(imageMarks.name, bits)
            }
        } catch {
            result.recordError = error
        }
    }

    /// Records a failure.
    ///
    /// - Parameters:
    ///   - copied: the copy was complete and flushed, and what came after it failed. What was
    ///     copied can't be relied on then, unless the job was only stopped.
    ///   - look: the last one at both sides, if there was one.
    func recordFailure(
        _ report: MirrorReport, copied: Bool, _ comparison: CompareReport? = nil,
        _ look: EndLook? = nil
    ) -> Report {
        var result = Report(report)
        result.differences = finder?.report
        result.comparison = comparison
        if look == nil {
            do throws(MirrorError) { _ = try job.markWritten() } catch {
                result.recordError = error
            }
        }
        // What can't be reached may be as the job left it: the record must not say that it changed.
        let witness = look?.targetWitness ?? targetWitness(target.witnessIfReached())
        let doubts = target.devices.doubtsAboutWriters().lastingDoubts
        do throws(BitmapStoreError) {
            if job.hasHiddenLosses || isWrittenOver(report) {
                try giveUp(witness, doubts, isDistrusted: true)
            } else if copied, case .failed = report.outcome {
                try giveUp(witness, doubts, isDistrusted: comparison?.isIdentical == false)
            } else {
                try keep(report, witness, doubts, &result)
            }
        } catch {
            result.recordError = .store(error)
        }
        return result
    }

    /// The target's files as the job left them.
    ///
    /// - Parameter now: a look at all of them.
    func targetWitness(_ now: [WriteWitness]) -> [WriteWitness] {
        target.witnessAfterWriting(record.targetWitness, now)
    }

    /// Whether something else has written the target, or cut it: nothing is known of what this job
    /// has written there.
    private func isWrittenOver(_ report: MirrorReport) -> Bool {
        if target.devices.hasOtherWriter { return true }
        guard case .failed(let error) = report.outcome else { return false }
        // A disk that vanished is as it was when it comes back.
        if case .shrank(.target, _, _, _) = error { return target.device.kind == .image }
        // While both sides were compared, its times and counters showed it.
        if case .writtenMeanwhile(let path, _) = error, finder != nil { return path == target.path }
        return error.isOtherWriter
    }

    /// Keeps the record, to go on from.
    private func keep(
        _ report: MirrorReport, _ witness: [WriteWitness], _ doubts: Set<TargetDoubt.Kind>,
        _ result: inout Report
    ) throws(BitmapStoreError) {
        let undone = job.undone()
        // What was found to be the same need not be compared again.
        let planned = finder == nil ? report.planned : plannedBits().dirtyBytes
        let left = undone.dirtyBytes ?? planned
        guard let record = try writer.close(isNeeded: left < planned) else {
            return unlessUnusable { () throws(BitmapStoreError) in
                try noteUnrecorded(.failure, witness, doubts: doubts)
            }
        }
        var cleared: DirtyBitmap?
        switch undone {
        case .some(let bits):
            cleared = try record.finish(
                .failure, remaining: bits.copy(), targetWitness: witness, doubts: doubts)
        case nil:
            cleared = try record.finish(.failure, targetWitness: witness, doubts: doubts)
        }
        try clear(cleared.take(), &result)
        // Without an answer the record says what it said when this job took it up.
        let kept = record.record
        let remaining = undone.dirtyBytes ?? kept.remainingBytes
        result.resumableFrom = records.path
        result.saved = max(kept.planned - remaining, 0)
    }

    /// Ends the job as one that has done nothing: of what it copied, nothing is known to be right.
    ///
    /// - Parameter isDistrusted: the target differs where it was compared, can't be read there, or
    ///   was written by something else, so that it is not what its bitmaps take it for.
    private func giveUp(
        _ witness: [WriteWitness], _ doubts: Set<TargetDoubt.Kind>, isDistrusted: Bool
    ) throws(BitmapStoreError) {
        guard let record = try writer.close(isNeeded: false) else {
            guard isDistrusted else {
                return unlessUnusable { () throws(BitmapStoreError) in
                    try noteUnrecorded(.failure, witness, doubts: doubts)
                }
            }
            return try noteUnrecorded(.failure, witness, doubts: doubts, isDistrusted: true)
        }
        try record.giveUp(targetWitness: witness, doubts: doubts, isDistrusted: isDistrusted)
        guard case .path = records else { return }
        try records.existing(for: source.identity)?.removeFileIfEmpty()
    }

    /// Bitmaps that know the target hear of a job without a record. A full mirror leaves nothing to
    /// resume on its target, whichever job was interrupted there; and a store that was made for a
    /// record alone goes with it.
    private func noteUnrecorded(
        _ ending: JobEnding, _ witness: [WriteWitness], sourceUnchanged: Bool = false,
        doubts: Set<TargetDoubt.Kind>, isProven: Bool = false, isDistrusted: Bool = false
    ) throws(BitmapStoreError) {
        guard let store = try records.existing(for: source.identity) else { return }
        if record.bitmap == nil {
            try store.noteUnrecordedJob(
                record, ending, targetWitness: witness, sourceUnchanged: sourceUnchanged,
                doubts: doubts, isProven: isProven, isDistrusted: isDistrusted)
        }
        if case .path = records { try store.removeFileIfEmpty() }
    }

    /// A store that can't be used, or is of another disk, makes a job without a record no worse:
    /// what uses it will say so.
    private func unlessUnusable(_ body: () throws(BitmapStoreError) -> Void) {
        do throws(BitmapStoreError) { try body() } catch { log.leftBehind(error) }
    }
}

extension RecordedMirror.RecordPlace {
    var path: FilePath {
        switch self {
        case .store(let store): store.path
        case .path(let path): path
        }
    }

    /// The store, made if it is not there.
    func open(for source: DeviceIdentity) throws(BitmapStoreError) -> BitmapStore {
        switch self {
        case .store(let store): store
        case .path(let path): try BitmapStore.openOrCreate(path, for: source)
        }
    }

    /// The store, if it is there.
    func existing(
        for source: DeviceIdentity, _ access: Access = .readWrite
    ) throws(BitmapStoreError) -> BitmapStore? {
        do throws(BitmapStoreError) {
            return try openExisting(for: source, access)
        } catch .notFound {
            return nil
        }
    }

    func openExisting(
        for source: DeviceIdentity, _ access: Access = .readWrite
    ) throws(BitmapStoreError) -> BitmapStore {
        switch self {
        case .store(let store): store
        case .path(let path): try BitmapStore.open(path, for: source, access: access)
        }
    }
}

extension Optional where Wrapped == DirtyBitmap {
    fileprivate var dirtyBytes: Int64? {
        switch self {
        case .some(let bits): bits.dirtyBytes
        case nil: nil
        }
    }
}
