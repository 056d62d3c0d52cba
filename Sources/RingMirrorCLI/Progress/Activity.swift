import RingMirror

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

extension Activity {
    /// A mirror that runs.
    init(_ job: MirrorJob, title: String, _ last: LastLine) {
        self.init(
            title: title, stop: { job.cancel() }, resume: { job.resume() },
            show: { last.value ?? Self.text(job.progress) })
    }

    /// A mirror with a record that runs.
    init(_ mirror: RecordedMirror, title: String, _ last: LastLine) {
        self.init(
            title: title, stop: { mirror.cancel() }, resume: { mirror.job.resume() },
            show: { last.value ?? Self.text(mirror.progress) })
    }

    /// How far a mirror is, in a line of its own.
    static func text(_ progress: MirrorProgress) -> String {
        "\(ByteSize.text(progress.done)) of \(ByteSize.text(progress.planned)) copied"
    }
}
