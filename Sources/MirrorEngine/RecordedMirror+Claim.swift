internal import BitmapStore
internal import BlockStorage
internal import DirtyBitmap

extension RecordedMirror {
    /// What may be said of the target after a success.
    ///
    /// - Parameter end: what the last look at both sides showed.
    func claim(_ comparison: CompareReport?, _ end: [MirrorEvidence]) -> MirrorClaim {
        let planned = plannedBits().dirtyBytes
        let isWhole = planned == source.geometry.size
        var found: [MirrorEvidence] = []
        var isCompared = false
        if let comparison {
            isCompared = comparison.compared == source.geometry.size
            found.append(
                isCompared
                    ? .allCompared(bytes: comparison.compared)
                    : .copiedCompared(bytes: comparison.compared))
        }
        if isWhole { found.append(.allCopied) }
        if !isWhole && !isCompared { found += evidence }
        found += end
        return MirrorClaim(
            kind: kind(isWhole: isWhole || isCompared, planned, end), evidence: found)
    }

    private func kind(
        isWhole: Bool, _ planned: Int64, _ end: [MirrorEvidence]
    ) -> MirrorClaim.Kind {
        let isWritten = end.contains {
            if case .sourceWritten = $0 { true } else { false }
        }
        if isWritten { return .mixedPointsInTime }
        if isWhole { return .mirror }
        if request.mode == .top { return .layerCopied }
        // What is left of a full mirror that is resumed was preceded by the rest of it.
        if request.mode == .full { return .mirror }
        return planned == 0 ? .nothingCopied : .mirrorByBitmap
    }
}
