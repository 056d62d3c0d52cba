/// Whether a write leaves a trace: writing moves a file's time of modification, which whoever means
/// to hide it can set back.
enum Trace: String, Sendable, CaseIterable {
    case visible, hidden
}

/// Which bitmaps of the source hear of a write.
enum Marking: Sendable, Equatable {
    case all, none
    case only(Int)
}

/// What a write puts there: zeros, or numbers that this seed determines.
struct Fill: Sendable, CustomStringConvertible {
    let seed: UInt64
    let isZero: Bool

    var description: String { isZero ? "zeros" : "data \(seed % 1000)" }
}

/// A stretch of a disk.
struct Stretch: Sendable, CustomStringConvertible {
    let offset: Int
    let count: Int

    var range: Range<Int> { offset..<offset + count }
    var description: String { "\(offset)+\(count)" }
}

/// How a job ends, as far as its surroundings have a say in it.
enum Surroundings: Sendable, Equatable {
    case quiet
    /// It is told to stop after so many places were written to.
    case interrupted(after: Int)
    /// Its process ends after so many places were written to.
    case killed(after: Int)
    /// Writing to the target fails from there on.
    case failing(after: Int)
    /// The source is written meanwhile, and the file's time tells.
    case sourceWritten(after: Int)

    /// Whether a job can reach its end in them.
    var isQuiet: Bool { self == .quiet }
}

/// One mirror.
struct Job: Sendable {
    enum Mode: String, Sendable { case full, incremental }
    enum Verification: String, Sendable { case none, copied, all }
    enum Clearing: String, Sendable, CaseIterable { case onSuccess, never, always }

    var mode: Mode
    var target: Int
    var bitmap: Int?
    var clearing: Clearing?
    /// The user says that an unknown target holds the mirror that the bitmap goes on from.
    var vouches = false
    var isResumed = false
    var surroundings = Surroundings.quiet
    /// Requests are small and one by one, and there is a checkpoint whenever there can be one.
    var isSlow = false
    var verification = Verification.none

    var verifiesAll: Bool { verification == .all }
}

/// One thing that happens in a history.
enum Step: Sendable {
    case write(Stretch, Fill, Marking, Trace)
    case mirror(Job)
    /// A full mirror of a target onto the source.
    case restore(from: Int, Surroundings)
    case resizeSource(Int)
    case resizeTarget(Int, Int)
    case remove(Int)
    /// A target removed and made anew.
    case remake(Int, Fill)
    case touch(Int, Stretch, Fill, Trace)
    /// Two targets change names.
    case swap(Int, Int)
    /// A target's bytes written over another's.
    case copy(from: Int, to: Int, Trace)
    /// The source replaced by another file with these bytes, or with its own.
    case replaceSource(Fill?)
    case setRecording(Int, Bool)
    case clear(Int)
    /// A bitmap removed and added again.
    case readd(Int)
    /// A target set aside as it is now.
    case keep(Int)
    /// The target set aside last comes back in place of this one, as it was.
    case bringBack(Int)
}

extension Job: CustomStringConvertible {
    var description: String {
        var words = [isResumed ? "resume \(mode.rawValue)" : mode.rawValue, "to t\(target)"]
        if let bitmap { words.append("by b\(bitmap)") }
        if let clearing { words.append("clearing \(clearing.rawValue)") }
        if vouches { words.append("vouched for") }
        if isSlow { words.append("slowly") }
        if verification != .none { words.append("verifying \(verification)") }
        if surroundings != .quiet { words.append("\(surroundings)") }
        return words.joined(separator: " ")
    }
}

extension Step: CustomStringConvertible {
    var description: String {
        switch self {
        case .write(let where_, let fill, let marking, let trace):
            "write \(where_) \(fill), marked in \(marking), \(trace)"
        case .mirror(let job): "\(job)"
        case .restore(let target, let surroundings):
            "restore the source from t\(target)"
                + (surroundings == .quiet ? "" : ", \(surroundings)")
        case .resizeSource(let size): "resize the source to \(size)"
        case .resizeTarget(let target, let size): "resize t\(target) to \(size)"
        case .remove(let target): "remove t\(target)"
        case .remake(let target, let fill): "make t\(target) anew with \(fill)"
        case .touch(let target, let where_, let fill, let trace):
            "touch t\(target) at \(where_) \(fill), \(trace)"
        case .swap(let one, let other): "swap t\(one) and t\(other)"
        case .copy(let one, let other, let trace): "copy t\(one) over t\(other), \(trace)"
        case .replaceSource(let fill):
            fill.map { "replace the source by \($0)" } ?? "replace the source by a copy of itself"
        case .setRecording(let bitmap, let isOn): "\(isOn ? "enable" : "disable") b\(bitmap)"
        case .clear(let bitmap): "clear b\(bitmap)"
        case .readd(let bitmap): "remove b\(bitmap) and add it again"
        case .keep(let target): "set t\(target) aside"
        case .bringBack(let target): "bring t\(target) back from aside"
        }
    }
}
