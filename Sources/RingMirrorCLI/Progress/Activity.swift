/// What the program is doing, for signals.
struct Activity: Sendable {
    /// Such as `opening vm.img`.
    let title: String
    /// Ends the activity in order. Nil if it may be cut off at any point, because it leaves
    /// nothing behind.
    var stop: (@Sendable () -> Void)?
    /// Goes on after a pause.
    var resume: @Sendable () -> Void = {}
    /// How far it is, for SIGUSR1.
    var show: (@Sendable () -> String)?

    /// Something that reads and makes nothing.
    static func reading(_ title: String) -> Activity { Activity(title: title) }

    /// Something short that must come to its end: what it makes can be removed only by whoever
    /// asked for it. `Signals.isStopping` tells afterwards that a signal came.
    static func making(_ title: String) -> Activity { Activity(title: title, stop: {}) }
}
