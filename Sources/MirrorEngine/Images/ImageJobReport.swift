internal import BlockStorage

/// How a job inside a chain of images ended.
public struct ImageJobReport: Sendable {
    /// What was copied. If what follows the copying could not be done, its outcome says so too.
    public let mirror: MirrorReport
    /// Why what follows the copying could not be done; nil if it was, or if the copying failed.
    /// The job can be run again.
    public let endingError: MirrorError?
    /// What may be said of the image that was written.
    public let claim: MirrorClaim

    /// - Parameters:
    ///   - kind: what a success may claim.
    ///   - doubts: what makes that weaker, asked when all is done.
    ///   - check: throws if what was copied, or where, is not what it was when the job began.
    ///   - ending: what follows the copying, done after it has succeeded. Throws also if something
    ///     else wrote what the job writes meanwhile.
    init(
        _ mirror: MirrorReport, of kind: JobKind, doubts: () -> [MirrorEvidence],
        check: () throws(MirrorError) -> Void,
        ending: () throws(MirrorError) -> Void
    ) {
        var mirror = mirror
        var error: MirrorError?
        if mirror.outcome.isMirrored {
            do throws(MirrorError) {
                try check()
                try ending()
            } catch let failure {
                error = failure
                mirror.outcome = .failed(failure)
            }
        }
        self.mirror = mirror
        endingError = error
        let success: MirrorClaim.Kind = kind == .stream ? .streamed : .committed
        claim = MirrorClaim(
            kind: mirror.outcome.isMirrored ? success : .unfinished,
            evidence: doubts())
    }
}
