internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap

extension MirrorClaim {
    /// What stays in doubt of the target, by what happened to either side meanwhile.
    var lastingDoubt: TargetDoubt.Kind? {
        for evidence in evidence {
            switch evidence {
            case .sourceWritten: return .mixed
            case .sourceUnknown: return .sourceUnseen
            case .targetOpened: return .unseen
            default: break
            }
        }
        return nil
    }
}

extension MirrorEvidence {
    /// Whether it says that a side was written, or may have been, or that storage may have lost
    /// something: a comparison does not make up for it.
    fileprivate var outlastsComparing: Bool {
        switch self {
        case .sourceWritten, .sourceUnknown, .lossUnseen, .targetOpened: true
        default: false
        }
    }
}

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
            kind: isCompared && !end.contains(where: \.outlastsComparing)
                ? .mirror : kind(isWhole: isWhole || isCompared, planned, found),
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
                case .sourceUnknown, .targetUnknown, .targetTouched, .zerosVouched, .notProven,
                    .lossUnseen, .writersUnseen, .targetOpened:
                    true
                default: false
                }
            }
            return hasDoubt ? .mirrorByEvidence : .mirror
        }
        return planned == 0 ? .nothingCopied : .mirrorByBitmap
    }
}
