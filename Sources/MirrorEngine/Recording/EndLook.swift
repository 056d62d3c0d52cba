internal import BitmapStore
internal import BlockStorage
internal import SystemPackage

/// The last look at both sides of a mirror, before it is called one.
///
/// What was copied is on the target's stable storage by now. Whether that is a mirror depends on
/// what happened meanwhile: the source may have been written, and the target's path may lead to
/// another file.
struct EndLook {
    /// The source's files as the target has them: a write that came while the job ran is one that
    /// the next job has to hear of.
    let sourceWitness: [WriteWitness]
    /// As the job left the target's files.
    var targetWitness: [WriteWitness]
    /// What the look adds to the claim.
    let evidence: [MirrorEvidence]
    /// No write to the source shows since the job began.
    let isSourceUnchanged: Bool
    /// All of both sides was compared since the copy, and is the same.
    let isCompared: Bool
    /// Why there is no mirror; nil if there may be one.
    let failure: MirrorOutcome?

    /// - Parameter comparison: what was compared since the copy.
    /// - Throws: `.storage` if the source can't be flushed: what the target has of it, it could
    ///   lose in a power cut, and no mark would tell.
    init(_ mirror: RecordedMirror, _ comparison: CompareReport?) throws(MirrorError) {
        isCompared =
            comparison.map {
                $0.compared == mirror.source.geometry.size && $0.isIdentical
            } ?? false
        try mirror.source.flush()
        let now = mirror.source.witness()
        let targetNow = mirror.target.witnessIfReached()
        targetWitness = mirror.targetWitness(targetNow)
        // What was written to a disk in use is on the target, as far as it was by that moment.
        let proof = mirror.live?.proof
        let found =
            proof != nil
            ? .unchanged
            : now.evidence(
                since: mirror.record.sourceWitness,
                names: mirror.source.devices.map(\.path.string))
        if proof != nil {
            sourceWitness = mirror.record.sourceWitness
        } else if case .written = found {
            sourceWitness = mirror.record.sourceWitness
        } else {
            sourceWitness = now
        }
        isSourceUnchanged = proof == nil && found == .unchanged
        let below = mirror.target.looksBelow(mirror.record.targetWitness, targetNow)
        let unheard = (mirror.source.devices + mirror.target.devices).compactMap(\.deafness)
        evidence =
            [proof.map { .provenMoment($0) } ?? MirrorEvidence(ofSource: found)]
            + (mirror.source.movedFile.map { [.sourceMoved($0.string)] } ?? [])
            + unheard.prefix(1).map { .lossUnseen($0) }
            + below.compactMap { (path, found) in
                switch found.naming(path.string) {
                case .unchanged, .written: nil
                case .timesOnly(let how): .targetBaseTouched(how)
                case .unknown(let why): .targetUnknown(why)
                }
            } + mirror.target.devices.doubtsAboutWriters(compared: isCompared)
        failure = Self.failure(mirror, found, below)
        mirror.target.devices.endWatch()
    }

    private static func failure(
        _ mirror: RecordedMirror, _ found: WriteEvidence,
        _ below: [(path: FilePath, found: WriteEvidence)]
    ) -> MirrorOutcome? {
        do throws(MirrorError) {
            if case .written(let how) = found, !mirror.request.allowSourceInUse {
                throw .writtenMeanwhile(path: mirror.source.path, how: how)
            }
            if let path = mirror.target.movedFile { throw .movedMeanwhile(path: path) }
            try mirror.target.requireSize()
            for case (let path, .written(let how)) in below {
                throw .writtenMeanwhile(path: path, how: how)
            }
            return nil
        } catch {
            return .failed(error)
        }
    }
}

extension Disk {
    /// What became of those files of a target that the job only reads, below its own, between two
    /// looks at all of them. What they show there is not what the job went on from, if one of them
    /// was written.
    fileprivate func looksBelow(
        _ earlier: [WriteWitness], _ now: [WriteWitness]
    ) -> [(path: FilePath, found: WriteEvidence)] {
        guard earlier.count == devices.count, now.count == devices.count else { return [] }
        return zip(devices, zip(earlier, now)).filter { $0.0.access == .readOnly }
            .map { ($0.0.path, $0.1.1.evidence(since: $0.1.0)) }
    }

    /// Refuses a disk that has another size than when it was opened. A file in a format grows as it
    /// is written: its size says nothing.
    fileprivate func requireSize() throws(MirrorError) {
        guard image == nil else { return }
        let size: Int64
        do throws(StorageError) { size = try device.currentSize() } catch {
            throw .storage(error)
        }
        guard size == device.geometry.size else {
            throw .targetResized(target: path, from: device.geometry.size, to: size)
        }
    }
}
