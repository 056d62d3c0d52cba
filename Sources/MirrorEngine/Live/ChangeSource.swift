package import DirtyBitmap

/// What tells a job of writes to its source while it runs, and can hold the writers back.
///
/// It tells of each write when that is submitted and again when it has completed, before its
/// writer is told. So a job that drains before it submits a read, and again after it, reads nothing
/// that stays behind: what the read may have missed is dirty again.
package protocol ChangeSource: Sendable {
    /// Marks dirty in `bits` what was written since the last call, and forgets it. Any thread may
    /// call it, one at a time. It waits for nothing: the dispenser calls it under its lock.
    func drain(into bits: inout DirtyBitmap)

    /// Whether at some moment of the call nothing was in flight, and nothing marked that was not
    /// drained: what was copied before is the source as it was then.
    var isAtRest: Bool { get }

    /// Has what is held back above the source written to it, while the writers go on: it need not
    /// be written then while they wait. It may take long, and any thread may call it.
    func settle()

    /// Holds the writers back. When it returns nothing is in flight, and what `drain` tells after
    /// it is all that there is until `resume`.
    ///
    /// - Throws: if they can't be held, or something was lost that can't be made good. The job
    ///   says `resume` all the same, and fails, unless the error `mayPass`: it tries again then.
    func quiesce() throws(MirrorError)

    /// Whether the writers have been held back since `quiesce`, and nothing was written or lost
    /// since the last drain. The job asks when the target has been flushed with nothing dirty.
    ///
    /// - Throws: if something was lost, so that nothing can be proven any more.
    func provenMoment() throws(MirrorError) -> HoldState

    /// Lets the writers go on, if they are held back. Any thread may call it.
    ///
    /// - Returns: what holds them back still, although it should not, so that somebody has to mend
    ///   that; nil: nothing does.
    func resume() -> MirrorError?
}

/// What has become of the writers of a source that are to be held back.
package enum HoldState: Sendable {
    /// They are held back, nothing is in flight, and nothing was written since the last drain: what
    /// was copied and flushed is the source as it is now.
    case proven
    /// They are held back, and there is more to drain.
    case arrived
    /// They were let go too early. The job goes on, and tries again.
    case released
}
