/// What a comparison is for: an answer by itself, or the beginning of a job that copies what
/// differs.
package struct ComparisonPurpose: Sendable {
    /// What can't be read of the first side counts as different. Otherwise it ends the comparison.
    package var acceptsUnreadableFirst = false
    /// The same of the second side.
    package var acceptsUnreadableSecond = false
    /// It pauses with the job that it is a part of, and keeps that job's speed limit.
    package var isPaced = false
    /// Why what is compared from now on proves nothing, so that the comparison ends early; nil:
    /// nothing speaks against it. It is called often, and may not wait.
    package var interruption: (@Sendable () -> MirrorError?)?

    package init() {}

    func acceptsUnreadable(_ side: MirrorSide) -> Bool {
        side == .source ? acceptsUnreadableFirst : acceptsUnreadableSecond
    }
}
