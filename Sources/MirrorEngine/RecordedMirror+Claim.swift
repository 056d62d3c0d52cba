internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap

extension RecordedMirror {
    /// What may be said of the target after a success.
    ///
    /// - Parameter end: what the last look at both sides showed.
    func claim(
        _ report: MirrorReport, _ comparison: CompareReport?, _ end: [MirrorEvidence]
    ) -> MirrorClaim {
        let planned = plannedBits().dirtyBytes
        let isWhole = planned == source.geometry.size
        var found: [MirrorEvidence] = []
        var isCompared = false
        if let comparison {
            isCompared = comparison.compared == source.geometry.size
            if comparison.compared > 0 {
                found.append(
                    isCompared
                        ? .allCompared(bytes: comparison.compared)
                        : .copiedCompared(bytes: comparison.compared))
            }
        }
        let isVouched = request.options.targetIsZero && report.skipped > 0 && !isCompared
        if isWhole && !isVouched { found.append(.allCopied) }
        if !isWhole && !isCompared { found += evidence }
        if isVouched { found.append(.zerosVouched(bytes: report.skipped)) }
        found += end
        return MirrorClaim(
            kind: isCompared && !isMixed(end) ? .mirror : kind(isWhole: isWhole, planned, found),
            evidence: found)
    }

    /// Whether all of the target was copied or compared by this job, with no promise in between.
    func isProof(_ claim: MirrorClaim) -> Bool {
        var isAll = false
        for evidence in claim.evidence {
            switch evidence {
            case .allCompared: return true
            case .allCopied: isAll = true
            case .zerosVouched: return false
            default: break
            }
        }
        return isAll
    }

    private func isMixed(_ evidence: [MirrorEvidence]) -> Bool {
        evidence.contains { if case .sourceWritten = $0 { true } else { false } }
    }

    private func kind(
        isWhole: Bool, _ planned: Int64, _ evidence: [MirrorEvidence]
    ) -> MirrorClaim.Kind {
        if isMixed(evidence) { return .mixedPointsInTime }
        if request.mode == .top && !isWhole { return .layerCopied }
        // What is left of a full mirror that is resumed was preceded by the rest of it.
        if isWhole || request.mode == .full {
            let hasDoubt = evidence.contains {
                switch $0 {
                case .sourceUnknown, .targetUnknown, .targetTouched, .zerosVouched, .notProven: true
                default: false
                }
            }
            return hasDoubt ? .mirrorByEvidence : .mirror
        }
        return planned == 0 ? .nothingCopied : .mirrorByBitmap
    }
}
