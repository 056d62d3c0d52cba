internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap

extension [MirrorEvidence] {
    /// What stays in doubt of a target, by what happened to either side while it was written.
    var lastingDoubts: Set<TargetDoubt.Kind> {
        let isCompared = contains { if case .allCompared = $0 { true } else { false } }
        var doubts: Set<TargetDoubt.Kind> = []
        for evidence in self {
            switch evidence {
            case .sourceWritten: doubts.insert(.mixed)
            case .sourceUnknown: doubts.insert(.sourceUnseen)
            case .sourceTouched: doubts.insert(.sourceTouched)
            case .targetBaseTouched: doubts.insert(.touched)
            case .targetOpened: doubts.insert(.unseen)
            case .writersUnseen where !isCompared: doubts.insert(.unseen)
            default: break
            }
        }
        return doubts
    }
}

extension MirrorEvidence {
    /// Whether it says that a side was written, or may have been, or that storage may have lost
    /// something: a comparison does not make up for it.
    fileprivate var outlastsComparing: Bool {
        switch self {
        case .sourceWritten, .sourceUnknown, .sourceTouched, .sourceMoved, .lossUnseen,
            .targetOpened:
            true
        default: false
        }
    }
}

extension RecordedMirror {
    /// What may be said of the target after a success.
    ///
    /// - Parameter look: the last one at both sides.
    func claim(
        _ report: MirrorReport, _ comparison: CompareReport?, _ look: EndLook
    ) -> MirrorClaim {
        let (end, isCompared) = (look.evidence, look.isCompared)
        let planned = plannedBits().dirtyBytes
        let isWhole = planned == source.geometry.size
        var found: [MirrorEvidence] = []
        if let comparison, comparison.compared > 0 {
            assert(comparison.isIdentical, "a difference is no success")
            found.append(
                isCompared
                    ? .allCompared(bytes: comparison.compared)
                    : .copiedCompared(bytes: comparison.compared))
        }
        let isVouched = request.options.targetIsZero && report.skipped > 0 && !isCompared
        if isWhole && !isVouched {
            found.append(finder == nil ? .allCopied : .differencesCopied(bytes: report.planned))
        }
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
            case .allCopied, .differencesCopied: isAll = true
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
        // What is left of a full mirror that is resumed was preceded by the rest of it, which marks
        // may have kept true.
        let restsOnMarks = evidence.contains { if case .bitmap = $0 { true } else { false } }
        if isWhole || request.mode == .full && !restsOnMarks {
            let hasDoubt = evidence.contains {
                switch $0 {
                case .sourceUnknown, .targetUnknown, .zerosVouched, .notProven, .lossUnseen,
                    .writersUnseen:
                    true
                default: $0.isDoubt
                }
            }
            return hasDoubt ? .mirrorByEvidence : .mirror
        }
        return planned == 0 && request.mode != .full ? .nothingCopied : .mirrorByBitmap
    }
}
