internal import Ring

/// The workers of one job, who meet at the end of each pass: whoever comes last finds out what
/// follows, so that every pass has all rings, and nothing is flushed while anything is in flight.
///
/// Invariant: at most `members` have arrived, and while fewer have, at least one is at work.
final class Crew: @unchecked Sendable {
    /// What follows on a pass.
    enum Step: Sendable, Equatable {
        /// All copy again. For the first pass nobody has to ask.
        case copy
        /// One of them flushes, and the others go on waiting. After the final one nothing is
        /// written any more.
        case flush(isFinal: Bool)
        /// There is nothing to do for now: one of them comes again in a moment, and the others go
        /// on waiting.
        case wait
        /// All is done.
        case end
    }

    private let monitor = Monitor()

    // Protected by the monitor.

    private var members: Int
    private var arrived = 0
    /// How often something was found out that is for all.
    private var round = 0
    private var step = Step.copy

    init(members: Int) {
        precondition(members > 0)
        self.members = members
    }

    /// Waits until all are done with what they do, and tells what follows.
    ///
    /// - Parameter decide: called by one of them, while none of the others does anything.
    func next(_ decide: () -> Step) -> Step {
        monitor.withLock {
            arrived += 1
            precondition(arrived <= members, "more workers than the crew has")
            let mine = round
            while round == mine {
                guard arrived == members else {
                    monitor.wait()
                    continue
                }
                let found = decide()
                switch found {
                case .flush, .wait:
                    arrived -= 1
                    return found
                case .copy, .end: break
                }
                arrived = 0
                round += 1
                step = found
                monitor.broadcast()
            }
            return step
        }
    }

    /// There is one fewer, who never began.
    func leave() {
        monitor.withLock {
            members -= 1
            precondition(members >= arrived)
            // Perhaps nobody else is missing.
            monitor.broadcast()
        }
    }
}
