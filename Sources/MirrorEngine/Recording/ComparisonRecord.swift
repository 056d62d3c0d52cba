public import BitmapStore
internal import BlockStorage
public import DirtyBitmap
internal import SystemPackage

/// What a comparison of two disks makes known: that the second lacks what differs from the first,
/// and nothing else, from the moment at which it began.
public struct ComparisonRecord: Sendable {
    private let source, target: Disk
    private let sourceWitness, targetWitness: [WriteWitness]
    private var finding = SourceFinding.marked

    /// Made before the comparison.
    public init(of source: Disk, with target: Disk) {
        self.source = source
        self.target = target
        sourceWitness = source.settledWitness()
        targetWitness = target.settledWitness()
    }

    /// Looks whether the bitmap has missed a write. Called before the differences are marked in it,
    /// of which it has not heard otherwise.
    ///
    /// - Parameters:
    ///   - imageMarks: what a bitmap in the image has marked.
    ///   - isRecording: whether that takes marks.
    public mutating func judge(
        _ bitmap: BitmapReference, in store: BitmapStore,
        imageMarks: borrowing DirtyBitmap? = nil, isRecording: Bool? = nil
    ) throws(MirrorError) {
        finding = try source.finding(
            by: bitmap, in: store, imageMarks: imageMarks, isRecording: isRecording)
        // If the process dies before the comparison is noted, its marks excuse nothing.
        guard finding.isMissed else { return }
        do throws(BitmapStoreError) { try store.noteRefusal(.missed, by: bitmap) } catch {
            throw .store(error)
        }
    }

    /// Makes the second disk a target of the bitmap, in which the differences are marked by now.
    ///
    /// The comparison must have found neither side written meanwhile.
    ///
    /// - Parameter imageMarks: what a bitmap in the image has marked now.
    public func note(
        _ bitmap: BitmapReference, in store: BitmapStore, imageMarks: borrowing DirtyBitmap? = nil
    ) throws(MirrorError) {
        var doubts: Set<TargetDoubt.Kind> = []
        if case .unknown = source.evidence(since: sourceWitness) { doubts.insert(.sourceUnseen) }
        if case .unknown = target.evidence(since: targetWitness) { doubts.insert(.unseen) }
        do throws(BitmapStoreError) {
            try store.noteComparison(
                with: target.identity, at: FilePath(target.resolvedPath), by: bitmap,
                imageMarks: imageMarks, sourceWitness: sourceWitness,
                targetWitness: targetWitness, doubts: doubts, hasMissedWrite: finding.isMissed,
                sourceDoubt: finding.doubt)
        } catch {
            throw .store(error)
        }
    }
}
