/// When a job ends whose source is written while it runs, and what that may cost the writers.
package struct LivePlan: Sendable {
    /// When it is time to hold the writers back and to end.
    package enum Ending: Sendable {
        /// As soon as what is left can be copied within the longest pause.
        case whenItFits
        /// The same, once somebody has said `complete`. Until then the target follows.
        case whenAsked
        /// The same, once this says so: for instance when nothing has the source mounted any more.
        /// It is called often, and may not wait.
        case when(@Sendable () -> Bool)
    }

    package var ending: Ending
    /// How long the writers may be held back, in nanoseconds. The pause begins only when what is
    /// dirty is expected to be copied and flushed within that.
    package var maxPause: Int64
    /// After so many passes the pause begins, however long it will be; nil: never.
    package var passesMax: Int?
    /// Whether the writers stay held back behind the last flush, until `ChangeSource.resume`: what
    /// follows then sees both sides as they are at that moment.
    package var holdsBeyondFlush: Bool
    /// What is compared then, within the longest pause.
    package var comparison = MirrorVerification.none
    /// How often the writers may have been let go too early, or not have been held back in time,
    /// before the job gives up.
    package var attemptsMax = 5

    package init(
        ending: Ending, maxPause: Int64, passesMax: Int? = nil, holdsBeyondFlush: Bool = false
    ) {
        self.ending = ending
        self.maxPause = maxPause
        self.passesMax = passesMax
        self.holdsBeyondFlush = holdsBeyondFlush
    }
}

/// A source that is written while it is copied: what tells of that, and what is to be done about
/// it.
package struct LiveSource: Sendable {
    package let changes: any ChangeSource
    package let plan: LivePlan

    package init(_ changes: any ChangeSource, _ plan: LivePlan) {
        self.changes = changes
        self.plan = plan
    }
}
