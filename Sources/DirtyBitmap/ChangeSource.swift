/// What tells a job of writes to its source while it runs.
///
/// It tells of each write when that is submitted and again when it has completed, before its
/// writer is told. So who drains before a read is submitted, and again after it, reads nothing
/// that stays behind: what the read may have missed is dirty again.
package protocol ChangeSource: Sendable {
    /// Marks dirty in `bits` what was written since the last call, and forgets it. Any thread may
    /// call it, one at a time. It waits for nothing: the dispenser calls it under its lock.
    func drain(into bits: inout DirtyBitmap)

    /// Holds the writers back. When it returns nothing is in flight, and what `drain` tells after
    /// it is all that there is until `resume`.
    func quiesce()

    /// Lets the writers go on.
    func resume()
}
