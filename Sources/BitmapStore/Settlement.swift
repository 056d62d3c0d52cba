internal import DirtyBitmap

/// What the end of a job makes of its bitmap and of what the bitmap's targets lack.
///
/// With B for the bitmap's marks, T for what the job took, R for what is not durable on its
/// target, M for what was marked since it began: wherever the source and a known target differ,
/// that is in B or in what the target lacks, before and after.
struct Settlement {
    /// B as it was.
    let before: BitTree
    /// What B becomes; nil: it stays.
    let after: BitFormula?
    /// All that the job's target lacks from now on besides B.
    let remaining: BitTree

    /// - Parameter bits: the bitmap's.
    /// - Returns: nil if all stays as it is, and the job can be resumed.
    init?(_ job: JobEntry, _ ending: JobEnding, in bits: BitTree) {
        guard let taken = job.taken, let marked = job.marked else { return nil }
        before = bits
        remaining = job.remaining
        var formula = BitFormula(bits)
        switch (ending, job.bitmapMode) {
        case (.failure, .onSuccess), (.failure, .never): return nil
        case (.success, .never):
            after = nil
            return
        case (.success, _): formula.subtract(taken)
        case (.failure, .always): formula.subtract(taken, except: remaining)
        }
        formula.merge(marked)
        after = formula
    }
}
